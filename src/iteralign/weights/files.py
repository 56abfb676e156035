"""What is to be known of a Hugging Face model on disk, on the hub or in a GGUF file without reading its weights."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.weights.base_hash import directory_hash, file_sha256, sampled_hash
from iteralign.weights.gguf import GGUF, is_gguf
from iteralign.weights.load_errors import cannot_load, first_line
from iteralign.weights.sizes import Sizes, keep_sizes, kept_sizes, sizes_of
from iteralign.weights.tensors import check_directory

_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_ADDED_TOKENS = 16
"""That a tokenizer may put around a text, at most."""


class ModelFiles:
    """A causal language model by directory, hub id or GGUF file. Nothing is imported or read before it is needed."""

    def __init__(self, name_or_path: str, *, revision: str | None = None, trust_remote_code: bool = False) -> None:
        """`trust_remote_code` runs Python code that comes with the model."""
        self.name_or_path = name_or_path
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self._gguf = GGUF(name_or_path, revision) if is_gguf(name_or_path) else None

    @cached_property
    def described_by(self) -> str:
        """Directory or hub id that configuration and tokenizer are read from."""
        return self.name_or_path if self._gguf is None else str(self._gguf.description())

    @cached_property
    def weights_in(self) -> str:
        """Directory or hub id of the whole model, as transformers and vLLM load it."""
        return self.name_or_path if self._gguf is None else str(self._gguf.model())

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, padding on the left as generation needs it; a missing pad token becomes eos, else unk."""
        import transformers

        source = self.described_by
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                source,
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
    def config(self) -> Any:
        """The model's configuration, as transformers knows it."""
        import transformers

        source = self.described_by
        try:
            return transformers.AutoConfig.from_pretrained(
                source, revision=self.revision, trust_remote_code=self.trust_remote_code
            )
        except Exception as error:
            raise cannot_load(error, self.name_or_path, "configuration") from error

    @cached_property
    def context_length(self) -> int | None:
        """The most tokens that prompt and answer may have together; None where the model names no limit."""
        if self.kept is not None:
            return self.kept.context
        config = self.config.get_text_config()
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
            return transformers.GenerationConfig.from_pretrained(self.described_by, revision=self.revision)
        except OSError:  # it has none
            return transformers.GenerationConfig.from_model_config(self.config)

    @property
    def is_part(self) -> bool:
        """Whether the text model is one part of a larger one, that sees or hears, whose other tensors are left out."""
        return self.config.get_text_config() is not self.config

    @property
    def ties_embeddings(self) -> bool:
        """Whether the output layer is the input embedding."""
        return bool(self.config.get_text_config().tie_word_embeddings)

    @property
    def render_chat(self) -> Callable[[list[dict[str, str]]], str] | None:
        """Messages to text by the tokenizer's chat template, ready to be answered; None where it has no template."""
        if not self.tokenizer.chat_template:
            return None
        tokenizer = self.tokenizer

        def render(messages: list[dict[str, str]]) -> str:
            try:
                return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
            except Exception as error:  # the template is a program: jinja's errors and its own
                raise TargetError(
                    f"The chat template of {self.name_or_path} fails on a conversation of {len(messages)} turns: "
                    f"{first_line(error)}. Mend the template, or choose another form.name."
                ) from error

        return render

    def fingerprint(self, *, fresh: bool = False) -> str:
        """What tells this base model from another by the same name: the hub's commit, or a hash of the files, which are
        read again where they have changed, or if `fresh`."""
        if self._gguf is not None:
            return file_sha256(self._gguf.path, fresh=fresh)
        path = Path(self.name_or_path).expanduser()
        if path.is_dir():
            return directory_hash(path, fresh=fresh)
        return str(getattr(self.config, "_commit_hash", None) or "unknown")

    def is_still(self, fingerprint: str, *, fresh: bool = False) -> bool:
        """Whether this is the base model that had this fingerprint, also one that an earlier version took."""
        path = Path(self.name_or_path).expanduser()
        if path.is_dir() and not fingerprint.startswith("files-"):
            return sampled_hash(path) == fingerprint
        return self.fingerprint(fresh=fresh) == fingerprint

    def empty_network(self, attention: str | None = None) -> Any:
        """The model's layers without weights. Raises TargetError where it is no causal language model, or `attention` can't
        be had."""
        import torch
        import transformers

        check_directory(Path(self.name_or_path).expanduser())
        config = self.config
        try:
            with torch.device("meta"):
                return transformers.AutoModelForCausalLM.from_config(
                    config, trust_remote_code=self.trust_remote_code, attn_implementation=attention
                )
        except Exception as error:
            raise cannot_load(error, self.name_or_path, "network") from error

    @cached_property
    def parameters(self) -> int:
        """How many; 0 where transformers can't build the model, which loading it will tell of."""
        try:
            return self.sizes.parameters
        except TargetError:
            return 0

    @cached_property
    def sizes(self) -> Sizes:
        """What the layers count. Raises TargetError where transformers can't build them."""
        return self.kept or sizes_of(self.empty_network(), self.context_length)

    @cached_property
    def kept(self) -> Sizes | None:
        """The same of files that were found fit by an earlier `keep`; None where they were not, or are others now."""
        directory = self._own_directory
        return None if directory is None else kept_sizes(directory)

    def keep(self) -> None:
        """These files are fit to be loaded: `kept` knows it from now on, in other processes too."""
        if self._own_directory is not None:
            keep_sizes(self._own_directory, self.sizes)

    @property
    def _own_directory(self) -> Path | None:
        """Of files that say all of the model: none on the hub, which may change, and no program of its own."""
        directory = Path(self.name_or_path).expanduser()
        return directory if directory.is_dir() and not self.trust_remote_code else None


def surely_fits(text: str, room: int) -> bool:
    """Whether a prompt has at most so many tokens, as far as its length tells: a token of plain characters has one at
    least."""
    return text.isascii() and len(text) + _ADDED_TOKENS <= room


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
