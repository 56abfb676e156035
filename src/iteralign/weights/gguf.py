"""GGUF files, as llama.cpp and Ollama use them, turned into Hugging Face directories once and kept in the user's cache.

transformers reads a GGUF from the start for each of configuration, tokenizer and weights (half a minute and more for a model
of 135M parameters), and what it has read can be neither saved nor told from a quantised model. So everything else meets an
ordinary directory. The weights become float32: what the quantised numbers stand for is kept exactly.
"""

import fcntl
import functools
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from iteralign.errors import MissingExtraError, TargetError
from iteralign.files import user_cache, written_whole
from iteralign.weights.base_hash import file_sha256
from iteralign.weights.load_errors import first_line

_ON_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+):(?P<file>.+)")
_LAYOUT = 1
"""Of the kept directories; another number where a later version writes them differently."""
_ENDS = ("eos", "eot", "eom")
"""Metadata names tokens by these that end a text, a turn, a message."""


def is_gguf(name: str) -> bool:
    """Whether a model's name is a GGUF file's: a path, or `owner/name:file.gguf` on the hub."""
    return name.lower().endswith(".gguf")


class GGUF:
    """One file, by path or as `owner/name:file.gguf`."""

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name = name
        self.revision = revision

    @functools.cached_property
    def path(self) -> Path:
        """The file on this machine, fetched from the hub where it is named so."""
        local = Path(self.name).expanduser()
        named = _ON_HUB.fullmatch(self.name)
        if local.is_file():
            return local
        if named is None or (local.parent.is_dir() and local.parent != Path()):
            raise TargetError(f"There is no file {self.name}. A GGUF on the hub is named owner/name:file.gguf.")
        import huggingface_hub

        try:
            return Path(huggingface_hub.hf_hub_download(named["repository"], named["file"], revision=self.revision))
        except Exception as error:
            raise TargetError(
                f"{self.name} is neither a file here nor to be had from the Hugging Face hub: check the name, the "
                f"network, and for a gated model your access (hf auth login). The hub's answer: {first_line(error)}"
            ) from error

    @functools.cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        return file_sha256(self.path)

    def description(self) -> Path:
        """A directory with configuration and tokenizer."""
        return self._kept("description", self._write_description)

    def model(self) -> Path:
        """A directory with the weights too."""
        self.description()  # first, since it takes the same lock
        return self._kept("model", self._write_model)

    def _kept(self, part: str, write: Callable[[Path], None]) -> Path:
        """A part of what is kept for this file, written if it isn't there."""
        import transformers

        home = user_cache() / "gguf" / f"{self.sha256[:32]}-{_LAYOUT}-{transformers.__version__}"
        if not (home / part).is_dir():
            with _alone(home), _understood(self):
                if not (home / part).is_dir():  # somebody else may have written it meanwhile
                    with written_whole(home / part) as place:
                        write(place)
        return home / part

    def _write_description(self, place: Path) -> None:
        import transformers

        ends = _end_tokens(self._metadata())
        config = transformers.AutoConfig.from_pretrained(**self._source)
        config.save_pretrained(place)
        transformers.AutoTokenizer.from_pretrained(**self._source).save_pretrained(place)
        _drop_invented_tokens(place / "tokenizer.json", config.get_text_config().vocab_size)
        settings = transformers.GenerationConfig.from_model_config(config)
        settings.eos_token_id = ends or settings.eos_token_id
        settings.save_pretrained(place)

    def _write_model(self, place: Path) -> None:
        import torch
        import transformers

        description = self.description()
        with redirect_stderr(io.StringIO()):  # a bar of its own, which can't be switched off
            network = transformers.AutoModelForCausalLM.from_pretrained(
                **self._source,
                config=transformers.AutoConfig.from_pretrained(description),
                dtype=torch.float32,
                quantization_config=transformers.GgufConfig(dequantize=True),
            )
        network.generation_config = transformers.GenerationConfig.from_pretrained(description)
        network.save_pretrained(place)
        transformers.AutoTokenizer.from_pretrained(description).save_pretrained(place)

    @property
    def _source(self) -> dict[str, Any]:
        """How transformers is told of the file."""
        return {"pretrained_model_name_or_path": str(self.path.parent), "gguf_file": self.path.name}

    def _metadata(self) -> dict[str, Any]:
        """Single values by name. TargetError if the file is no GGUF, is cut short, or is one part of several."""
        import gguf

        with self.path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise TargetError(f"{self.path} is no GGUF file: it does not begin with the letters GGUF.")
        try:
            fields = gguf.GGUFReader(self.path).fields
        except Exception as error:
            raise TargetError(
                f"{self.path} can't be read: it is cut short or damaged ({first_line(error)}). Fetch it again."
            ) from error
        found = {name: field.contents() for name, field in fields.items() if len(field.data) == 1}
        if found.get("split.count", 1) > 1:
            raise TargetError(
                f"{self.path} is one of {found['split.count']} parts. Join them first: llama-gguf-split --merge."
            )
        return found


def _end_tokens(metadata: dict[str, Any]) -> list[int]:
    """Every token that ends an answer. transformers takes over the first kind alone."""
    named = (metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in _ENDS)
    return sorted({int(token) for token in named if token is not None})


def _drop_invented_tokens(path: Path, vocabulary: int) -> None:
    """transformers adds GPT-2's own special token to a byte-level vocabulary without it (Llama 3's), beyond all embeddings."""
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["id"] < vocabulary]
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """No other process writes there meanwhile: two runs may begin with the same file."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("w")
    except OSError as error:
        raise TargetError(
            f"{home} can't be written ({error.strerror}), where GGUF files are kept in a form that can be trained. Mend "
            "the permissions, or set XDG_CACHE_HOME to a directory of yours."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _understood(file: GGUF) -> Iterator[None]:
    """What transformers says of a file that it can't read, as a message that says what to do."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{file.path}: {first_line(error)} The package is called gguf: pip install gguf"
        ) from error
    except (ValueError, NotImplementedError, KeyError) as error:
        from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

        raise TargetError(
            f"{file.path} can't be read by transformers: {first_line(error)} "
            f"It reads these architectures: {', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))}. Use the Hugging Face "
            "directory that the file was made from, a newer transformers, or engine served with llama-server."
        ) from error
