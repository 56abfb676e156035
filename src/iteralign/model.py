"""The one owner of a Hugging Face model's weights in this process, for generating and for training alike.

Nothing is loaded twice: a trainer changes the resident weights in place and says so (`holds`), and the target goes on
generating with them. Nothing is imported or read before it is needed, so that a resumed stage loads nothing.
"""

import copy
import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from iteralign.errors import TargetError
from iteralign.files import Background, written_whole
from iteralign.load_errors import cannot_load, first_line
from iteralign.records import Checkpoint

Device = Literal["auto", "cuda", "mps", "cpu"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_MIB = 1 << 20
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")


class LocalModel:
    """A causal language model by path or hub id, with the checkpoints trained from it."""

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
    ) -> None:
        """`root` is the run directory, to which the paths of adapter and full checkpoints are relative.

        `device="auto"`: cuda, else mps, else cpu. `dtype="auto"`: bfloat16 on a GPU that has it, else float32 (full
        fine-tuning asks for float32 everywhere). `trust_remote_code` runs Python code that comes with the model.
        `attention`: a name that transformers knows, None for its own choice.
        """
        self.name_or_path = name_or_path
        self.root = root
        self.trust_remote_code = trust_remote_code
        self.revision = revision
        self.attention = attention
        self._device = device
        self._dtype = dtype
        self._network: Any = None
        """The PreTrainedModel; an adapter's layers are put into it in place."""
        self._adapter: Any = None
        """The PeftModel around `_network`, or None."""
        self._network_is: tuple[str, str] | None = None
        """Identity of the weights in `_network` without the adapter; None once training has changed them."""
        self._holds: tuple[str, str] | None = None
        self.writing = Background()
        """Of full weights. They must not change before it has ended: `writing.wait()`."""
        self.train_again: Callable[[Checkpoint], None] | None = None
        """Makes full weights that are not on disk, and leaves them here."""

    @property
    def base(self) -> Checkpoint:
        """The checkpoint of the untrained model."""
        return Checkpoint(kind="base", path=self.name_or_path)

    @cached_property
    def device(self) -> str:
        """cuda, mps or cpu."""
        if self._device != "auto":
            return self._device
        import torch

        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    @cached_property
    def dtype(self) -> str:
        """Name of the weights' torch dtype. bfloat16 in software is slower than float32, so `auto` doesn't take it."""
        if self._dtype != "auto":
            return self._dtype
        import torch

        native = self.device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float32"

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, padding on the left as generation needs it; a missing pad token becomes eos, else unk."""
        import transformers

        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.name_or_path,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                padding_side="left",
            )
        except Exception as error:
            raise cannot_load(error, self.name_or_path, "tokenizer") from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        if tokenizer.pad_token is None:
            raise TargetError(
                f"The tokenizer of {self.name_or_path} has no pad, eos or unk token, so answers can neither be "
                "batched nor end. Set one of them and save the tokenizer again."
            )
        return tokenizer

    @cached_property
    def context_length(self) -> int | None:
        """The most tokens that prompt and answer may have together; None where the model names no limit."""
        config = self._config.get_text_config()
        for field in _CONTEXT_FIELDS:
            length = getattr(config, field, None)
            if isinstance(length, int) and length > 0:
                return length
        named = self.tokenizer.model_max_length
        return int(named) if named < 10**9 else None

    @cached_property
    def generation_config(self) -> Any:
        """The model's own settings for generating, as a loaded model would have them; read without its weights."""
        import transformers

        try:
            return transformers.GenerationConfig.from_pretrained(self.name_or_path, revision=self.revision)
        except OSError:  # it has none
            return transformers.GenerationConfig.from_model_config(self._config)

    @property
    def ties_embeddings(self) -> bool:
        """Whether the output layer is the input embedding."""
        return bool(self._config.get_text_config().tie_word_embeddings)

    @property
    def render_chat(self) -> Callable[[list[dict[str, str]]], str] | None:
        """Messages to text by the tokenizer's chat template, ready to be answered; None where it has no template."""
        if not self.tokenizer.chat_template:
            return None
        tokenizer = self.tokenizer

        def render(messages: list[dict[str, str]]) -> str:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

        return render

    def at(self, checkpoint: Checkpoint) -> Any:
        """The model with this checkpoint's weights, in eval mode; does nothing when it has them already.

        A PreTrainedModel for base and full checkpoints, a PeftModel with a trainable adapter for an adapter.
        """
        wanted = self._identity(checkpoint)
        if self.train_again is not None and not self.has(checkpoint):
            self.train_again(checkpoint)
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

    def has(self, checkpoint: Checkpoint) -> bool:
        """Whether these weights are to be had without training: all are but full ones that are neither here nor on disk."""
        if checkpoint.kind != "full" or self._holds == self._identity(checkpoint):
            return True
        self.writing.wait()
        return (self.root / checkpoint.path).exists()

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
        elif self._holds == self._identity(checkpoint) or not self.has(checkpoint):
            network = self.at(checkpoint)
        else:
            network = self._read(self._identity(checkpoint))
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

        self.writing.begin(write)

    def fingerprint(self) -> str:
        """What tells this base model from another by the same name: the hub's commit, or a hash of the directory's files.

        Of each weight file it takes the size and the first and last MiB.
        """
        path = Path(self.name_or_path).expanduser()
        if not path.is_dir():
            return str(getattr(self._config, "_commit_hash", None) or "unknown")
        found = hashlib.sha256()
        for file in sorted(path.iterdir()):
            if file.suffix in (".json", ".safetensors", ".model", ".txt", ".jinja"):
                found.update(f"{file.name} {file.stat().st_size} ".encode())
                with file.open("rb") as content:
                    found.update(content.read(_MIB))
                    content.seek(max(0, file.stat().st_size - _MIB))
                    found.update(content.read())
        return found.hexdigest()

    def release(self) -> None:
        """Free the memory that the weights take."""
        import gc

        import torch

        self._network = self._adapter = self._network_is = self._holds = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @cached_property
    def _config(self) -> Any:
        import transformers

        try:
            return transformers.AutoConfig.from_pretrained(
                self.name_or_path, revision=self.revision, trust_remote_code=self.trust_remote_code
            )
        except Exception as error:
            raise cannot_load(error, self.name_or_path, "configuration") from error

    def _identity(self, checkpoint: Checkpoint) -> tuple[str, str]:
        """What distinguishes weights: kind and place."""
        if checkpoint.kind == "base" and checkpoint.path != self.name_or_path:
            raise TargetError(
                f"The checkpoint's base model is {checkpoint.path}, but this run was given {self.name_or_path}."
            )
        return checkpoint.kind, checkpoint.path

    def _read(self, identity: tuple[str, str]) -> Any:
        """Base or full weights from disk or hub, on the CPU."""
        import torch
        import transformers

        bars: Any = transformers.utils.logging
        bars.disable_progress_bar()  # the run has its own
        kind, path = identity
        source = path if kind == "base" else str(self.root / path)
        try:
            network = transformers.AutoModelForCausalLM.from_pretrained(
                source,
                revision=self.revision if kind == "base" else None,
                trust_remote_code=self.trust_remote_code,
                dtype=getattr(torch, self.dtype),
                attn_implementation=self.attention,
                use_safetensors=True,  # .bin files are pickles
            )
        except Exception as error:
            raise cannot_load(error, source, "model") from error
        self._check_fit(network)
        return network

    def _placed(self, network: Any) -> Any:
        try:
            return network.to(self.device)
        except RuntimeError as error:
            raise TargetError(
                f"{self.name_or_path} does not fit on {self.device} in {self.dtype}: {first_line(error)}\n"
                "Choose a smaller model, another device, or dtype bfloat16."
            ) from error

    def _read_adapter(self, network: Any, checkpoint: Checkpoint) -> Any:
        import peft

        path = self.root / checkpoint.path
        if not (path / "adapter_model.safetensors").is_file():
            raise TargetError(f"{path} holds no adapter_model.safetensors. Train that round again or restore it.")
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

    def _check_fit(self, network: Any) -> None:
        rows = network.get_input_embeddings().weight.shape[0]
        highest = max(self.tokenizer.get_vocab().values())
        if highest >= rows:
            raise TargetError(
                f"The tokenizer of {self.name_or_path} does not fit the model: it has token id {highest}, the model "
                f"embeds {rows} tokens. Use the tokenizer that the model was trained with, or resize the model's "
                "embeddings and save it again."
            )


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a prompt, the same for generating and training.

    Special tokens are added unless the text begins with the bos token already, as chat templates write it. A final eos
    that some tokenizers add is dropped: the text is to be continued. Never empty: no text gives bos or eos.
    """
    starts = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    ids = list(tokenizer(text, add_special_tokens=not starts, verbose=False)["input_ids"])
    eos = tokenizer.eos_token_id
    if ids and eos is not None and ids[-1] == eos and not text.endswith(tokenizer.eos_token):
        ids.pop()
    if not ids:
        ids = [next(token for token in (tokenizer.bos_token_id, eos, tokenizer.pad_token_id) if token is not None)]
    return ids


def write_model(network: Any, tokenizer: Any, directory: Path, state: dict[str, Any] | None = None) -> None:
    """Save model and tokenizer in Hugging Face format, safetensors only.

    `state` holds the weights by name where the network has them only in part (sharded).
    """
    directory.mkdir(parents=True, exist_ok=True)
    own = network.generation_config
    try:
        network.save_pretrained(str(directory), state_dict=state)
    except ValueError:
        # Some released models name a temperature without sampling, which transformers loads but won't save.
        network.generation_config = copy.deepcopy(own)
        network.generation_config.do_sample = True
        network.save_pretrained(str(directory), state_dict=state)
    finally:
        network.generation_config = own
    tokenizer.save_pretrained(str(directory))
