"""The one owner of a Hugging Face model's weights in this process, for generating and for training alike.

Nothing is loaded twice: a trainer changes the resident weights in place and says so (`holds`), and the target goes on
generating with them. Nothing is imported or read before it is needed, so that a resumed stage loads nothing.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.files import written_whole
from iteralign.records import Checkpoint
from iteralign.weights.arithmetic import Arithmetic, Device, Dtype, Threads
from iteralign.weights.files import ModelFiles
from iteralign.weights.load_errors import first_line
from iteralign.weights.loading import read_adapter, read_network
from iteralign.weights.storage import Storage
from iteralign.weights.writing import not_finite, write_adapter, write_model


class LocalModel(ModelFiles):
    """A causal language model by directory, hub id or GGUF file, with the checkpoints trained from it."""

    def __init__(
        self,
        name_or_path: str,
        *,
        root: Path | Storage,
        device: Device = "auto",
        dtype: Dtype = "auto",
        trust_remote_code: bool = False,
        revision: str | None = None,
        attention: str | None = None,
        threads: Threads = "auto",
        full: bool = False,
        shares: Any = None,
        generating: Dtype | None = None,
        elsewhere: bool = False,
    ) -> None:
        """`root`: where the checkpoints trained from it lie. `attention`: a name that transformers knows, None for its own
        choice. Device, dtype, threads, `full`, `generating` and `elsewhere` are those of Arithmetic. `shares`: this process is
        of a group that shares the weights out (shares.shared_out).
        """
        super().__init__(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        self.storage = root if isinstance(root, Storage) else Storage(root)
        self.attention = attention
        self._shares = shares
        self.arithmetic = Arithmetic(
            self,
            self.storage,
            device=device,
            dtype=dtype,
            threads=threads,
            full=full,
            generating=generating,
            elsewhere=elsewhere,
        )
        self._network: Any = None
        """The PreTrainedModel; an adapter's layers are put into it in place."""
        self._adapter: Any = None
        """The PeftModel around `_network`, or None."""
        self._below: Checkpoint | None = None
        """The weights in `_network` without the adapter; None once training has changed them."""
        self._held: Checkpoint | None = None
        """The same with the adapter."""

    @property
    def base(self) -> Checkpoint:
        """The checkpoint of the untrained model."""
        return Checkpoint(kind="base", path=self.name_or_path)

    @property
    def device(self) -> str:
        """cuda, mps or cpu. Raises TargetError for one that is not there."""
        return self.arithmetic.device

    @property
    def dtype(self) -> str:
        """Name of the weights' torch dtype."""
        return self.arithmetic.dtype

    def at(self, checkpoint: Checkpoint) -> Any:
        """The model with this checkpoint's weights, in eval mode; does nothing when it has them already.

        A PreTrainedModel for base and full checkpoints, a PeftModel with a trainable adapter for an adapter.
        """
        if not self._has(checkpoint):
            self._held = None
            self._unwrap()
            below = self.base if checkpoint.kind == "adapter" else checkpoint
            if not _same(self._below, below):
                self.release()
                self._network = self._placed(self._read(below))
                self._below = below
            if checkpoint.kind == "adapter":
                self._adapter = read_adapter(self._network, self.storage.place(checkpoint))
            self._held = checkpoint
        resident = self._network if self._adapter is None else self._adapter
        if self._shares is None:
            resident.to(self.device)  # back from `set_aside`
        resident.eval()
        return resident

    def network(self, checkpoint: Checkpoint) -> Any:
        """The same weights as `at`, always as the PreTrainedModel that generates."""
        self.at(checkpoint)
        return self._network

    def apart(self, checkpoint: Checkpoint) -> Any:
        """Base or full weights once more, read anew, beside the resident ones."""
        self.storage.wait()
        return self._placed(self._read(checkpoint)).eval()

    def set_aside(self) -> None:
        """Move the weights to main memory, so that an engine may have the GPU; the next `at` brings them back."""
        import torch

        if self._network is not None and self.device != "cpu":
            self.storage.wait()
            self._network.to("cpu")
            torch.cuda.empty_cache()

    def release(self) -> None:
        """Free the memory that the weights take."""
        import gc

        import torch

        self._network = self._adapter = self._below = self._held = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def training(self, start: Checkpoint) -> Iterator[Any]:
        """The weights of `start`, to be changed in place. Where that breaks off they are thrown away, and after an error
        those of `start` are put back. What is trained becomes a checkpoint by `write` and `holds`."""
        self.storage.wait()
        try:
            yield self.at(start)
        except BaseException as error:
            self._discard()
            if isinstance(error, Exception):
                self.at(start)
            raise

    def add_adapter(self, config: Any) -> Any:
        """Put a new adapter of this peft config into the base model held now; it changes nothing before training."""
        import peft

        if not self._has(self.base):
            raise TargetError("A new adapter can only be put on the base model.")
        self._held = None
        self._adapter = peft.get_peft_model(self._network, config)
        return self._adapter

    def write(self, directory: Path) -> str:
        """Write the resident weights, an adapter now, full ones with their tokenizer beside the work. Returns the path that
        their checkpoint has."""
        if self._adapter is None:
            self._write_beside(directory)
        else:
            with written_whole(directory) as place:
                write_adapter(self._adapter, place)
        return self.storage.path_of(directory)

    def holds(self, checkpoint: Checkpoint) -> None:
        """Say that training in place has turned the resident weights into `checkpoint`."""
        self._held = checkpoint
        if checkpoint.kind == "full":
            self._below = checkpoint

    def export(self, checkpoint: Checkpoint, directory: Path) -> None:
        """Write model and tokenizer so that AutoModelForCausalLM and AutoTokenizer load them, an adapter merged.

        With an adapter it reads the weights afresh, on the CPU: merging would leave the resident model without one to train.
        """
        if checkpoint.kind == "adapter":
            network = read_adapter(self._read(self.base), self.storage.place(checkpoint)).merge_and_unload()
        else:
            network = (
                self.at(checkpoint)
                if self._has(checkpoint) and self._as_kept(checkpoint)
                else self._read_kept(checkpoint)
            )
        broken = not_finite(network.named_parameters())
        if broken is not None:
            raise TargetError(
                f"The weights in {checkpoint.path} are not finite ({broken}), so they are not exported. Restore them from a "
                "copy, or train that round again."
            )
        with written_whole(directory) as place:
            write_model(network, self.tokenizer, place)

    def _has(self, checkpoint: Checkpoint) -> bool:
        if checkpoint.kind == "base" and checkpoint.path != self.name_or_path:
            raise TargetError(
                f"The checkpoint's base model is {checkpoint.path}, but this run was given {self.name_or_path}."
            )
        return _same(self._held, checkpoint)

    def _read(self, checkpoint: Checkpoint) -> Any:
        """Base or full weights from disk or hub, on the CPU."""
        trained = None if checkpoint.kind == "base" else self.storage.place(checkpoint)
        return read_network(self, trained, self.dtype, self.attention, self._shares)

    def _as_kept(self, checkpoint: Checkpoint) -> bool:
        """Whether it is held as it was written: full weights are trained in float32, whatever generates."""
        return checkpoint.kind != "full" or self.dtype == "float32"

    def _read_kept(self, checkpoint: Checkpoint) -> Any:
        if self._as_kept(checkpoint):
            return self._read(checkpoint)
        return read_network(self, self.storage.place(checkpoint), "float32", self.attention)

    def _placed(self, network: Any) -> Any:
        if self._shares is not None:
            return network
        if self.arithmetic.threads is not None:
            import torch

            torch.set_num_threads(self.arithmetic.threads)
        if (scored := network.get_output_embeddings()) is not None:
            scored.register_forward_pre_hook(_contiguous)
        try:
            return network.to(self.device)
        except RuntimeError as error:
            raise TargetError(
                f"{self.name_or_path} does not fit on {self.device} in {self.dtype}: {first_line(error)}\n"
                "Choose a smaller model, another device, or dtype bfloat16."
            ) from error

    def _write_beside(self, directory: Path) -> None:
        network = copy.copy(self._network)  # its settings are its own, so that generating meanwhile does not meet them
        network.config = copy.deepcopy(self._network.config)
        network.generation_config = copy.deepcopy(self._network.generation_config)
        state = self._network.state_dict()
        self.storage.write(directory, lambda place: write_model(network, self.tokenizer, place, state))

    def _discard(self) -> None:
        """Throw away what training has done in place."""
        self._held = None
        if self._adapter is None:
            self.release()
        else:
            self._unwrap()

    def _unwrap(self) -> None:
        """Take the adapter's layers out of the network again; the weights below it were never changed."""
        if self._adapter is None:
            return
        self._network = self._adapter.unload()
        self._adapter = None
        if hasattr(self._network, "peft_config"):
            del self._network.peft_config  # or the next adapter warns of a second one


def _same(one: Checkpoint | None, other: Checkpoint) -> bool:
    """Whether they are the same weights: kind and place tell."""
    return one is not None and (one.kind, one.path) == (other.kind, other.path)


def _contiguous(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Of the states, a prompt's last alone are scored. For such a slice torch copies weights that are frozen, as a LoRA
    training leaves them, once for each row: 10 GB for 30 rows of a vocabulary of 262,144."""
    return (inputs[0].contiguous(), *inputs[1:])
