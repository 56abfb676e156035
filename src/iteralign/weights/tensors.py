"""The tensors of a model directory: that they are in safetensors, and that they are the model's, all and no others."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.text.bounded import read_json

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def check_directory(directory: Path) -> None:
    """Raises TargetError for a directory that transformers would load as something else than a model in safetensors."""
    if (directory / "adapter_config.json").exists():
        raise TargetError(
            f"{directory} holds a peft adapter (adapter_config.json), which transformers would put on the model unasked. Merge "
            "it first (merge_and_unload, save_pretrained), or move it away."
        )
    index = directory / _INDEX
    for name in _shards(index):
        if not name.endswith(".safetensors"):
            raise TargetError(f"{index} names {name}, which is no safetensors file; other formats can run any code.")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise TargetError(f"{index} names {name}, which lies outside of the model's directory.")
        if not (directory / name).is_file():
            raise TargetError(f"{index} names {name}, which is not there. Fetch the model again, whole.")


def tensor_shapes(directory: Path) -> dict[str, Any]:
    """What transformers would load from here, as tensors without values, from the headers of the files.

    Empty where there are no weights in safetensors. Raises TargetError.
    """
    import safetensors
    import torch

    check_directory(directory)
    names = [_WHOLE] if (directory / _WHOLE).exists() else _shards(directory / _INDEX)
    found: dict[str, Any] = {}
    for name in names:
        try:
            with safetensors.safe_open(str(directory / name), "pt") as file:
                found |= {key: torch.empty(file.get_slice(key).get_shape(), device="meta") for key in file.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError) as error:
            raise TargetError(f"{directory / name} can't be read: {error}. Fetch the model again, whole.") from error
    return found


def refuse_strays(source: str, found: Mapping[str, Collection[Any]], part: bool) -> None:
    """Raises TargetError unless transformers, which says what it `found`, could put each tensor in its place.

    Tied tensors, and those that a model's class knows to be of no use, are not in `found`. The text `part` of a model that
    also sees (Llama Guard 4) has no place for the rest of it.
    """
    for kind, what in (
        ("missing_keys", "are missing, so they would be random"),
        ("unexpected_keys", "have no place in the model, so they would be left out"),
        ("mismatched_keys", "have another shape than config.json says, so they would be random"),
    ):
        names = sorted(name if isinstance(name, str) else str(name[0]) for name in found[kind])
        if names and not (part and kind == "unexpected_keys"):
            raise TargetError(
                f"{len(names)} of the tensors of {source} {what}: {', '.join(names[:3])}{', ...' * (len(names) > 3)}. Fetch "
                "the model again, whole, or save it again by the program that made it."
            )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its bars, and its report on tensors, which ours replaces."""
    import transformers

    log: Any = transformers.utils.logging
    before = log.get_verbosity()
    log.disable_progress_bar()  # the run has its own
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(before)


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    if not index.exists():
        return []
    try:
        return sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TargetError(f"{index} can't be read: {error}. Fetch the model again.") from error
