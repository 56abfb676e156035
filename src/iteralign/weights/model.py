"""The one owner of a Hugging Face model's weights in this process, for generating and for training alike.

Nothing is loaded twice: a trainer changes the resident weights in place and says so (`holds`), and the target goes on
generating with them. Nothing is imported or read before it is needed, so that a resumed stage loads nothing.
"""

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from iteralign.errors import TargetError
from iteralign.files import Background, written_whole
from iteralign.records import Checkpoint
from iteralign.rundir.layout import CHECKPOINT
from iteralign.weights.files import ModelFiles, write_model
from iteralign.weights.hardware import best_threads, fast_bfloat16
from iteralign.weights.load_errors import first_line

Device = Literal["auto", "cuda", "mps", "cpu"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_LARGE = 50_000_000
"""Parameters from which the choice of number format and threads is worth a second; below, float32 is fast enough."""


class LocalModel(ModelFiles):
    """A causal language model by directory, hub id or GGUF file, with the checkpoints trained from it."""

    def __init__(
        self,
        name_or_path: str,
        *,
        root: Path,
        device: Device = "auto",
        dtype: Dtype = "auto",
        trust_remote_code: bool = False,
        revision: str | None = None,
        attention: str | None = None,
        threads: int | Literal["auto", "kept"] = "auto",
        full: bool = False,
    ) -> None:
        """`root` is the run directory, to which the paths of adapter and full checkpoints are relative.

        `device="auto"`: cuda, else mps, else cpu. `dtype="auto"`: bfloat16 where the device multiplies faster in it and,
        on a CPU, the model is large enough to matter; else float32. `full`: its weights are to be trained, so `auto` is
        float32. `threads` on a CPU: a number, auto for the fastest now, kept for as they are. `attention`: a name that
        transformers knows, None for its own choice.
        """
        super().__init__(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        self.root = root
        self.attention = attention
        self._device = device
        self._dtype = dtype
        self._threads = threads
        self._full = full
        self._begun: Mapping[str, Any] = {}
        """How the run that this model belongs to began to compute."""
        self._network: Any = None
        """The PreTrainedModel; an adapter's layers are put into it in place."""
        self._adapter: Any = None
        """The PeftModel around `_network`, or None."""
        self._network_is: tuple[str, str] | None = None
        """Identity of the weights in `_network` without the adapter; None once training has changed them."""
        self._holds: tuple[str, str] | None = None
        self.writing = Background()
        """Of full weights. They must not change before it has ended: `writing.wait()`."""
        self.written: Callable[[Path], None] = lambda directory: None
        """Told of full weights that were written, in the thread that wrote them."""
        self.check: Callable[[Path], None] = lambda directory: None
        """Asked before the run's own weights are read; raises where they are not what was written."""

    @property
    def base(self) -> Checkpoint:
        """The checkpoint of the untrained model."""
        return Checkpoint(kind="base", path=self.name_or_path)

    @cached_property
    def device(self) -> str:
        """cuda, mps or cpu. Raises TargetError for one that is not there."""
        import torch

        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        usable = [device for device, here in there.items() if here]
        if self._device == "auto":
            return usable[0]
        if self._device not in usable:
            raise TargetError(
                f"The device {self._device}, asked for {self.name_or_path}, is not to be had here: torch "
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
        config = self.config.get_text_config()
        inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        return best_threads(config.hidden_size, inner, getattr(torch, self.dtype))

    def arithmetic(self) -> dict[str, Any]:
        """What a run writes down, so that it goes on computing in the same way wherever and whenever it is resumed."""
        return {"device": self.device, "dtype": self.dtype, "autocast": self.autocast, "threads": self.threads}

    def begun_with(self, arithmetic: Mapping[str, Any] | None) -> None:
        """Take over what a run wrote down at its start; None: an older run, whose choice on a CPU was always float32."""
        older = {"dtype": "float32", "autocast": False} if self.device == "cpu" else {}
        self._begun = older if arithmetic is None else arithmetic

    def at(self, checkpoint: Checkpoint) -> Any:
        """The model with this checkpoint's weights, in eval mode; does nothing when it has them already.

        A PreTrainedModel for base and full checkpoints, a PeftModel with a trainable adapter for an adapter.
        """
        wanted = self._identity(checkpoint)
        if self._holds != wanted:
            self._holds = None
            below = self._identity(self.base) if checkpoint.kind == "adapter" else wanted
            self._unwrap()
            if self._network_is != below:
                self.release()
                self._network = self._placed(self._read(below))
                self._network_is = below
            if checkpoint.kind == "adapter":
                self._adapter = self._read_adapter(self._network, checkpoint)
            self._holds = wanted
        resident = self._network if self._adapter is None else self._adapter
        resident.to(self.device)  # back from `set_aside`
        resident.eval()
        return resident

    def set_aside(self) -> None:
        """Move the weights to main memory, so that an engine may have the GPU; the next `at` brings them back."""
        import torch

        if self._network is not None and self.device != "cpu":
            self.writing.wait()
            self._network.to("cpu")
            torch.cuda.empty_cache()

    def network(self, checkpoint: Checkpoint) -> Any:
        """The same weights as `at`, always as the PreTrainedModel that generates."""
        self.at(checkpoint)
        return self._network

    def add_adapter(self, config: Any) -> Any:
        """Put a new adapter of this peft config into the base model held now; it changes nothing before training."""
        import peft

        if self._holds != self._identity(self.base):
            raise TargetError("A new adapter can only be put on the base model.")
        self._holds = None
        self._adapter = peft.get_peft_model(self._network, config)
        return self._adapter

    def holds(self, checkpoint: Checkpoint) -> None:
        """Say that training in place has turned the resident weights into `checkpoint`."""
        self._holds = self._identity(checkpoint)
        if checkpoint.kind == "full":
            self._network_is = self._holds

    def discard(self) -> None:
        """Throw away what training has done in place, also when it broke off; the next `at` restores what it needs."""
        self._holds = None
        if self._adapter is None:
            self.release()
        else:
            self._unwrap()

    def export(self, checkpoint: Checkpoint, directory: Path) -> None:
        """Write model and tokenizer so that AutoModelForCausalLM and AutoTokenizer load them, an adapter merged.

        With an adapter it reads the weights afresh, on the CPU: merging would leave the resident model without one to train.
        """
        if checkpoint.kind == "adapter":
            network = self._read_adapter(self._read(self._identity(self.base)), checkpoint).merge_and_unload()
        elif self._holds == self._identity(checkpoint):
            network = self.at(checkpoint)
        else:
            network = self._read(self._identity(checkpoint))
        _check_finite(network, checkpoint)
        with written_whole(directory) as place:
            write_model(network, self.tokenizer, place)

    def write_beside(self, directory: Path) -> None:
        """Begin to write the resident full weights and the tokenizer; see `writing`."""
        network = copy.copy(self._network)  # its settings are its own, so that generating meanwhile does not meet them
        network.config = copy.deepcopy(self._network.config)
        network.generation_config = copy.deepcopy(self._network.generation_config)
        state = self._network.state_dict()

        def write() -> None:
            with written_whole(directory) as place:
                write_model(network, self.tokenizer, place, state)
            self.written(directory)

        self.writing.begin(write)

    def release(self) -> None:
        """Free the memory that the weights take."""
        import gc

        import torch

        self._network = self._adapter = self._network_is = self._holds = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _identity(self, checkpoint: Checkpoint) -> tuple[str, str]:
        """What distinguishes weights: kind and place."""
        if checkpoint.kind == "base" and checkpoint.path != self.name_or_path:
            raise TargetError(
                f"The checkpoint's base model is {checkpoint.path}, but this run was given {self.name_or_path}."
            )
        return checkpoint.kind, checkpoint.path

    def _read(self, identity: tuple[str, str]) -> Any:
        """Base or full weights from disk or hub, on the CPU."""
        kind, path = identity
        if kind == "base":
            return self.read_weights(None, self.dtype, self.attention)
        self.writing.wait()
        trained = self._there(path)
        self.check(trained)
        return self.read_weights(trained, self.dtype, self.attention)

    def _there(self, path: str) -> Path:
        """The directory of trained weights. Raises TargetError where it is gone."""
        place = self.root / path
        if not place.is_dir():
            raise TargetError(
                f"{place} is not there, with the weights that the run goes on from. Restore it from a copy. Or delete "
                f"{place.parent / CHECKPOINT.file}, what follows it there and all later rounds: resuming trains that "
                "round again."
            )
        return place

    @property
    def _is_large(self) -> bool:
        return self.parameters >= _LARGE

    @property
    def _bfloat16_pays(self) -> bool:
        return (self.device != "cpu" or self._is_large) and fast_bfloat16(self.device)

    def _placed(self, network: Any) -> Any:
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        try:
            return network.to(self.device)
        except RuntimeError as error:
            raise TargetError(
                f"{self.name_or_path} does not fit on {self.device} in {self.dtype}: {first_line(error)}\n"
                "Choose a smaller model, another device, or dtype bfloat16."
            ) from error

    def _read_adapter(self, network: Any, checkpoint: Checkpoint) -> Any:
        import peft

        path = self._there(checkpoint.path)
        if not (path / "adapter_model.safetensors").is_file():
            raise TargetError(f"{path} holds no adapter_model.safetensors. Restore it from a copy.")
        self.check(path)
        try:
            return peft.PeftModel.from_pretrained(network, str(path), is_trainable=True)
        except Exception as error:
            raise TargetError(
                f"The adapter in {path} does not load onto {self.name_or_path}: {first_line(error)}\n"
                "Was it trained from another base model?"
            ) from error

    def _unwrap(self) -> None:
        """Take the adapter's layers out of the network again; the weights below it were never changed."""
        if self._adapter is None:
            return
        self._network = self._adapter.unload()
        self._adapter = None
        if hasattr(self._network, "peft_config"):
            del self._network.peft_config  # or the next adapter warns of a second one


def _check_finite(network: Any, checkpoint: Checkpoint) -> None:
    """Raises TargetError for weights that no training of ours leaves behind."""
    import torch

    broken = [name for name, value in network.named_parameters() if not bool(torch.isfinite(value).all())]
    if broken:
        raise TargetError(
            f"The weights in {checkpoint.path} are not finite ({broken[0]}), so they are not exported. Restore them from a "
            "copy, or train that round again."
        )
