"""What a model computes with: device, number format, threads. As was asked for, as its run began, or what is fastest here."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from iteralign.errors import TargetError
from iteralign.weights.files import ModelFiles
from iteralign.weights.hardware import best_threads, fast_bfloat16, surely_a_cpu
from iteralign.weights.storage import Storage

Device = Literal["auto", "cuda", "mps", "cpu"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Threads = int | Literal["auto", "kept"]

_LARGE = 50_000_000
"""Parameters from which the choice of number format and threads is worth a second; below, float32 is fast enough."""


class Arithmetic:
    """Of one model. Nothing is measured before it is asked for."""

    def __init__(
        self,
        files: ModelFiles,
        storage: Storage,
        *,
        device: Device,
        dtype: Dtype,
        threads: Threads,
        full: bool,
        generating: Dtype | None = None,
        elsewhere: bool = False,
    ) -> None:
        """`device="auto"`: cuda, else mps, else cpu. `dtype="auto"`: bfloat16 where the device multiplies faster in it and,
        on a CPU, the model is large enough to matter; else float32. `full`: its weights are to be trained, so `auto` is
        float32. `threads` on a CPU: a number, auto for the fastest now, kept for as they are. What is auto stays as
        `storage` says that it was.
        `generating`: the number format of what generates with weights of its own; None: the same.
        `elsewhere`: it computes on other machines, so that `device` need not be there.
        """
        self._files = files
        self._storage = storage
        self._device = device
        self._dtype = dtype
        self._threads = threads
        self._full = full
        self._generating = generating
        self._elsewhere = elsewhere

    def record(self) -> dict[str, Any]:
        """What a run writes down, so that it goes on computing in the same way wherever and whenever it is resumed."""
        own = {} if self.generating == self.dtype else {"generating": self.generating}
        return {"device": self.device, "dtype": self.dtype, "autocast": self.autocast, "threads": self.threads} | own

    @cached_property
    def device(self) -> str:
        """cuda, mps or cpu. Raises TargetError for one that is not there."""
        if self._device in ("auto", "cpu") and surely_a_cpu():
            return "cpu"
        import torch

        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        usable = [device for device, here in there.items() if here]
        if self._device == "auto":
            return usable[0]
        if self._device not in usable and not self._elsewhere:
            raise TargetError(
                f"The device {self._device}, asked for {self._files.name_or_path}, is not to be had here: torch "
                f"{torch.__version__} finds {' and '.join(usable)}. Set device to auto, or check the driver (`iteralign "
                "doctor`)."
            )
        return self._device

    @cached_property
    def dtype(self) -> str:
        """Name of the weights' torch dtype."""
        if self._dtype != "auto":
            return self._dtype
        if "dtype" in self._begun:
            return str(self._begun["dtype"])
        return "bfloat16" if self._bfloat16_pays and not self._full else "float32"

    @cached_property
    def generating(self) -> str:
        """Name of the dtype of an engine that has weights of its own."""
        if self._generating is None or "dtype" in self._begun:
            return str(self._begun.get("generating", self.dtype))
        if self._generating != "auto":
            return self._generating
        return "bfloat16" if self._bfloat16_pays else "float32"

    @cached_property
    def autocast(self) -> bool:
        """Whether training multiplies in bfloat16, whatever the weights are kept in."""
        if "autocast" in self._begun:
            return bool(self._begun["autocast"])
        return self._bfloat16_pays and (self.device == "cuda" or self._dtype in ("auto", "bfloat16"))

    @cached_property
    def threads(self) -> int | None:
        """CPU threads of torch; None: as they are."""
        if self._threads != "auto" or self.device != "cpu":
            return self._threads if isinstance(self._threads, int) else None
        if "threads" in self._begun:
            recorded: int | None = self._begun["threads"]
            return recorded
        import torch

        if not self._is_large:
            return torch.get_num_threads()
        config = self._files.config.get_text_config()
        inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        return best_threads(config.hidden_size, inner, getattr(torch, self.dtype))

    @cached_property
    def _begun(self) -> Mapping[str, Any]:
        """What the run wrote down at its start. An older one, which did not, chose float32 on every CPU."""
        begun = self._storage.arithmetic()
        older = {"dtype": "float32", "autocast": False} if self.device == "cpu" else {}
        return older if begun is None else begun

    @property
    def _is_large(self) -> bool:
        return self._files.parameters >= _LARGE

    @property
    def _bfloat16_pays(self) -> bool:
        return (self.device != "cpu" or self._is_large) and fast_bfloat16(self.device)
