"""Rows -> questions: which column is the question, what its value holds, the category and the id."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from iteralign.data.files import FileItem
from iteralign.data.transcripts import chosen, is_transcript, message_turns, question_turns, transcript_turns
from iteralign.errors import DataError
from iteralign.records import Turn

QUESTION_FIELDS = (
    *("question", "prompt", "instruction", "goal", "behavior", "behaviour", "query", "text", "input"),
    *("turns", "transcript", "chosen", "messages", "conversations"),
)
"""Columns looked for, in this order, whatever their case."""
_TRANSCRIPTS = ("transcript", "chosen")
_CATEGORIES = ("category", "topic", "type", "harm_category", "semantic_category")

Which = Literal["first", "last"]


class Question(NamedTuple):
    """What one row asks."""

    where: str
    turns: tuple[Turn, ...]
    """History and question, the question last; empty for a transcript in which nobody asks anything."""
    category: str | None
    own_id: str | None
    benign: bool | None = None
    """What a file of ours says; None elsewhere."""


def read_question(row: FileItem, field: str | None, which: Which) -> Question:
    """The question of a row. `field` is its column, None for rows without columns. Raises DataError."""
    value = row.value
    if field is None:
        if isinstance(value, tuple):
            value = value[0] if value else None
        return Question(row.where, _turns(row, value, which, "item"), row.category, None)
    if not isinstance(value, Mapping):
        raise DataError(f"{row.where}: expected an object with the column {field!r}, found {_kind(value)}.")
    if field not in value:
        raise DataError(f"{row.where}: the column {field!r} is missing; there are: {_listed(value)}.")
    history = _history(row, value)
    turns = (*history, *_turns(row, value[field], "last" if history else which, field))
    benign = value.get("benign")
    return Question(
        row.where, turns, _category(row, value), _own_id(row, value), benign if isinstance(benign, bool) else None
    )


def find_field(rows: Sequence[FileItem], wanted: str | None) -> str | None:
    """The question's column, from the first row that has columns; None if the rows have none. Raises DataError."""
    first = next((row for row in rows if isinstance(row.value, Mapping)), None)
    if first is None:
        if wanted is not None:
            raise DataError(
                f"{rows[0].where}: the rows have no columns, so question_field={wanted!r} can't be used; leave it out."
            )
        return None
    names = {str(name).strip().lower(): str(name) for name in reversed(list(first.value))}
    if wanted is not None:
        if wanted in first.value:
            return wanted
        raise DataError(f"{first.where}: there is no column {wanted!r}; the columns are: {_listed(first.value)}.")
    for name in QUESTION_FIELDS:
        if name in names:
            return names[name]
    raise DataError(
        f"{first.where}: none of the columns is known to be a question; they are: {_listed(first.value)}. "
        "Say which one it is with question_field."
    )


def keep_where(rows: Sequence[FileItem], where: str) -> list[FileItem]:
    """The rows in which a column has a value, `where` being "column=value". Raises DataError if none has."""
    column, equals, wanted = where.partition("=")
    if not equals or not column:
        raise DataError(f"The filter {where!r} can't be read; write column=value.")
    seen: dict[str, None] = {}
    kept = []
    for row in rows:
        if not isinstance(row.value, Mapping) or column not in row.value:
            there = _listed(row.value) if isinstance(row.value, Mapping) else "none"
            raise DataError(f"{row.where}: the filter {where!r} names a column that is not there; columns: {there}.")
        value = str(row.value[column])
        seen.setdefault(value)
        if value == wanted:
            kept.append(row)
    if not kept:
        values = ", ".join(repr(value[:40]) for value in list(seen)[:10])
        raise DataError(f"The filter {where!r} leaves no row; values of {column!r} are: {values}.")
    return kept


def _turns(row: FileItem, value: Any, which: Which, field: str) -> tuple[Turn, ...]:
    if isinstance(value, list):
        return _list_turns(row, value, which, field)
    if not isinstance(value, str):
        raise DataError(f"{row.where}: the question in {field!r} is {_kind(value)}, not a string.")
    _check_text(row, value, field)
    transcript = field.lower() in _TRANSCRIPTS or is_transcript(value)
    turns = chosen(transcript_turns(value), which) if field.lower() in _TRANSCRIPTS else question_turns(value, which)
    if turns and not turns[-1].text:
        turns = ()
    if not turns and not transcript:
        raise DataError(f"{row.where}: the question in {field!r} is blank; fill it in or delete the row.")
    return turns


def _list_turns(row: FileItem, value: list[Any], which: Which, field: str) -> tuple[Turn, ...]:
    """Messages with roles, or the human turns alone, as in the Vicuna and MT benchmarks."""
    if value and all(isinstance(item, Mapping) for item in value):
        try:
            turns = message_turns(value)
        except ValueError as error:
            raise DataError(f"{row.where}: {field!r}: {error}.") from error
        for turn in turns:
            _check_text(row, turn.text, field)
        turns = chosen(turns, which)
        if not turns or not turns[-1].text:
            raise DataError(f"{row.where}: {field!r} has no question by a human; fill it in or delete the row.")
        return turns
    if not value or not isinstance(value[0], str):
        raise DataError(
            f"{row.where}: {field!r} is a list that has no texts or messages; name another column with question_field."
        )
    if which == "last" and len(value) > 1:
        raise DataError(f"{row.where}: {field!r} has human turns without the answers between; use turns='first'.")
    return _turns(row, value[0], which, field)


def _history(row: FileItem, value: Mapping[str, Any]) -> tuple[Turn, ...]:
    """The history of a row that iteralign wrote."""
    history = value.get("history")
    if not isinstance(history, list) or "question" not in value:
        return ()
    try:
        turns = tuple(Turn.model_validate(turn) for turn in history)
    except ValueError as error:
        raise DataError(f"{row.where}: 'history' must be a list of {{role: human|assistant, text}}: {error}") from error
    for turn in turns:
        _check_text(row, turn.text, "history")
    return turns


def _check_text(row: FileItem, text: str, field: str) -> None:
    if "\0" in text:
        raise DataError(f"{row.where}: {field!r} contains the NUL character; remove it.")
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{row.where}: {field!r} has half a Unicode pair (a lone surrogate) at character {error.start}."
        ) from error


def _category(row: FileItem, value: Mapping[str, Any]) -> str | None:
    columns = {str(name).lower(): found for name, found in value.items()}
    for name in _CATEGORIES:
        found = columns.get(name)
        if isinstance(found, str) and found.strip():
            inner = columns.get("subtopic") if name == "topic" else None
            text = f"{found} / {inner}" if isinstance(inner, str) else found
            _check_text(row, text, name)
            return text
    return row.category


def _own_id(row: FileItem, value: Mapping[str, Any]) -> str | None:
    own = value.get("id")
    if own is None or own == "":
        return None
    if isinstance(own, bool) or not isinstance(own, str | int):
        raise DataError(f"{row.where}: 'id' is {_kind(own)}; it must be a string or a whole number.")
    try:
        text = str(own)
    except ValueError as error:
        raise DataError(f"{row.where}: 'id' is a number of too many digits.") from error
    _check_text(row, text, "id")
    return text


def _listed(columns: Mapping[Any, Any]) -> str:
    return ", ".join(str(name)[:60] for name in list(columns)[:30]) or "none"


def _kind(value: Any) -> str:
    return "empty (null)" if value is None else type(value).__name__
