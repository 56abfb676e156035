"""What a model's layers count: known without building them, where its files were looked at before.

torch and transformers take ten times as long to import as all else that `iteralign plan` does. So what they have said of a
model directory is kept in the user's cache, for as long as its files and their versions stay the same.
"""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from iteralign.errors import RunDirectoryError
from iteralign.files import user_cache, write_text

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Sizes:
    """Of a model that was found fit to be loaded."""

    parameters: int
    a_rank: int
    """Parameters of an adapter of rank 1."""
    cached: int
    """Numbers that a token's keys and values are; 0 where the layers are of another kind."""
    context: int | None
    """Tokens that prompt and answer may have together; None where the model names no limit."""


def sizes_of(network: Any, context: int | None) -> Sizes:
    """By the layers. Adapters are on the attention's projections, or on all linear layers where those have other names."""
    layers = {name: layer for name, layer in network.named_modules() if hasattr(layer, "in_features")}
    attention = [name for name in layers if name.rsplit(".", 1)[-1] in _ATTENTION]
    a_rank = sum(layers[name].in_features + layers[name].out_features for name in attention or layers)
    try:
        cached = cached_numbers(network.config.get_text_config())
    except (AttributeError, TypeError):
        cached = 0
    return Sizes(sum(weight.numel() for weight in network.parameters()), a_rank, cached, context)


def cached_numbers(config: Any) -> int:
    """That a token's keys and values are; `config` is the text model's."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size)


def kept_sizes(directory: Path) -> Sizes | None:
    """What is kept of these files; None where nothing is."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Sizes(**json.loads(_place(directory).read_text(encoding="utf-8")))
    return None


def keep_sizes(directory: Path, sizes: Sizes) -> None:
    """For the next time. A cache that can't be written to costs time only."""
    with contextlib.suppress(OSError, RunDirectoryError):
        write_text(_place(directory), json.dumps(asdict(sizes)) + "\n")


def _place(directory: Path) -> Path:
    """By every file's name, size, time and inode, and by who reads them. Raises OSError."""
    found = hashlib.sha256(str(directory.resolve()).encode())
    for name in ("iteralign", "torch", "transformers", "tokenizers"):
        found.update(f"\n{name} {metadata.version(name)}".encode())
    for file in sorted(directory.iterdir()):
        facts = file.stat()
        found.update(f"\n{file.name} {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}".encode())
    return user_cache() / "sizes" / f"{found.hexdigest()[:32]}.json"
