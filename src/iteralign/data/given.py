"""Questions handed over in Python -> rows: strings, records, a data set of the datasets library."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iteralign.data.files import FileItem
from iteralign.errors import DataError
from iteralign.records import RedTeamPrompt

Questions = Iterable[str | Mapping[str, Any] | RedTeamPrompt]
"""A list (or tuple) of questions, of mappings with columns, or of RedTeamPrompt; or a datasets.Dataset."""

GIVEN = "given"
"""What the settings call a set that was handed over; its prompts are kept in the run directory."""


def given_rows(given: Questions) -> list[FileItem]:
    """One row per question, named by its place. Raises DataError for what is no list of questions."""
    if isinstance(given, str | Mapping) or not (isinstance(given, Sequence) or _is_dataset(given)):
        raise DataError(
            f"Questions can't be read from {_described(given)}. Give a list of strings, a list of records (mappings with "
            "columns), or one split of the datasets library; of a pandas frame: frame.to_dict('records')."
        )
    rows = [FileItem(f"{GIVEN}[{index}]", _value(item, index)) for index, item in enumerate(given)]
    if not rows:
        raise DataError("There is nothing in the list of questions that was given; it needs at least one.")
    return rows


def _value(item: object, index: int) -> Any:
    if isinstance(item, RedTeamPrompt):
        return item.model_dump(mode="json")
    if isinstance(item, str | Mapping):
        return item
    raise DataError(
        f"{GIVEN}[{index}] is of type {type(item).__name__}; a question is a string, or a mapping with columns."
    )


def _is_dataset(given: object) -> bool:
    """Whoever has one has imported its library."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(given, library.Dataset | library.IterableDataset)


def _described(given: object) -> str:
    if isinstance(given, Mapping) and all(isinstance(key, str) for key in given):
        return f"a {type(given).__name__} with the keys {', '.join(list(given)[:10])}"
    return f"a {type(given).__name__}"
