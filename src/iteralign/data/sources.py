"""Named data sets, any file, any set on the Hugging Face hub, or what was handed over -> rows and the name of the source."""

import re
from pathlib import Path
from typing import Any

from iteralign.data.files import FileItem, read_rows
from iteralign.data.given import GIVEN, Questions, given_rows
from iteralign.errors import DataError, MissingExtraError

SOURCES: dict[str, dict[str, str] | None] = {
    "hh-rlhf": {"path": "Anthropic/hh-rlhf", "data_dir": "red-team-attempts"},
    "harmfulqa": {"path": "declare-lab/HarmfulQA"},
    "dangerousqa": None,
}
"""Named sources and where the hub has them; None: nowhere, a file is needed."""
EVERYDAY = "everyday"
"""The harmless questions that ship: what people ask every day, some of it in words that look harmful."""


def source_rows(source: str | Questions, path: Path | None, split: str | None) -> tuple[str, list[FileItem]]:
    """(name of the source, its rows). Raises DataError, MissingExtraError."""
    if not isinstance(source, str):
        if path is not None:
            raise DataError(f"The questions were handed over; leave out the path {path}.")
        return GIVEN, given_rows(source)
    if source.startswith("hub:"):
        if path is not None:
            raise DataError(f"{source!r} is read from the hub; leave out the path {path}.")
        return _hub_source(source, split)
    if source == EVERYDAY and path is None:
        return EVERYDAY, read_rows(Path(__file__).with_name("everyday.txt"))
    if source in SOURCES:
        if path is not None:
            return source, read_rows(path)
        hub = SOURCES[source]
        if hub is None:
            raise DataError(
                f"{source} is not on the hub; give the path of its file (data/dangerous-q/toxic_outs.json of "
                "github.com/SALT-NLP/chain-of-thought-bias)."
            )
        return source, _hub_rows(dict(hub), split or "train")
    if path is not None:
        raise DataError(
            f"Unknown source {source!r} before the path {path}; choose {', '.join(SOURCES)}, or give the path alone."
        )
    file = Path(source)
    if "\0" in source or not (file.suffix or "/" in source or file.exists()):
        raise DataError(
            f"{source!r} is neither a known source ({', '.join((*SOURCES, EVERYDAY))}) nor a file; give a file's path, or "
            "hub:NAME."
        )
    return slug(file.name.split(".")[0]), read_rows(file)


def slug(name: str) -> str:
    """Lower-case letters, digits and hyphens; "prompts" when none is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "prompts"


def _hub_source(source: str, split: str | None) -> tuple[str, list[FileItem]]:
    match = re.fullmatch(r"hub:([^:@]+)(?::([^:@]+))?(?:@([^:@]+))?", source)
    if match is None:
        raise DataError(f"{source!r} can't be read; write hub:NAME, hub:NAME:CONFIG, and @SPLIT after either.")
    name, config, own_split = match.groups()
    wanted = {"path": name} | ({"name": config} if config else {})
    return slug(name.rsplit("/", 1)[-1]), _hub_rows(wanted, own_split or split or "train")


def _hub_rows(wanted: dict[str, str], split: str) -> list[FileItem]:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("Data sets of the hub need the datasets library: pip install datasets") from error
    label = f"{wanted['path']} (split {split})"
    try:
        loaded: Any = datasets.load_dataset(**wanted, split=split)
        rows = [FileItem(f"{label}: row {number}", dict(value)) for number, value in enumerate(loaded, start=1)]
    except Exception as error:  # datasets, huggingface_hub and the network raise errors of many kinds
        reason = " ".join(str(error).split())[:400]
        raise DataError(
            f"{label} can't be loaded from the hub: {type(error).__name__}: {reason} Check the name, the config and "
            "the split, or download a file and give its path."
        ) from error
    if not rows:
        raise DataError(f"{label}: there is nothing in this split; it needs at least one question.")
    return rows
