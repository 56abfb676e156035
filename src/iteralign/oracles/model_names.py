"""Whether the model that answered is the one that was asked, as far as names tell."""

import re

_VERSION = re.compile(r"[-_@:](latest|preview|\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|v\d+(\.\d+)*)$")
_ENDINGS = (".gguf", ".safetensors")


def is_another(asked: str, answered: str | None) -> bool:
    """False for a dated version of the model, its name with or without an owner, a file of it, and where nothing is said."""
    if not answered:
        return False
    one, other = _plain(asked), _plain(answered)
    return not (one == other or one.startswith(other) or other.startswith(one))


def _plain(name: str) -> str:
    name = name.replace("\\", "/").rstrip("/").rpartition("/")[2].strip().lower()
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    while (shorter := _VERSION.sub("", name)) != name:
        name = shorter
    return name
