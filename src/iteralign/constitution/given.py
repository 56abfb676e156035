"""A constitution read from a file: a run's own, an export, or one written by hand."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from iteralign.constitution.ledger import Effect
from iteralign.errors import DataError
from iteralign.prompts.fitness import why_unfit
from iteralign.records import Event, Principle
from iteralign.text.bounded import read_json, read_yaml

_KEYS = (*Principle.model_fields, "effect")


def read_ledger(path: Path) -> tuple[list[Principle], dict[str, Effect]]:
    """What `forms.as_yaml` wrote: every principle, whatever its status, and the effects by id."""
    principles, effects = [], {}
    for number, item in enumerate(_items(path), start=1):
        effect = item.pop("effect", None)
        principles.append(_principle(item, path, number))
        if effect is not None:
            effects[principles[-1].id] = Effect.model_validate(effect)
    return principles, effects


def read_constitution(path: Path) -> list[Principle]:
    """The principles to start a run with: adopted ones, and those with `status: proposed`, which are tried first.

    Their ids begin with `given-`. Evidence is dropped: its ids belong to another run's prompts. Raises DataError naming file
    and entry, also for a text that must not stand in a prompt.
    """
    given: dict[str, Principle] = {}
    for number, item in enumerate(_items(path), start=1):
        item.pop("effect", None)
        read = _principle({"status": "adopted"} | item, path, number)
        if read.status in ("adopted", "proposed"):
            principle = _given(read, path, number)
            if principle.id in given:
                raise DataError(f"{path}: entry {number}: the id {principle.id} occurs twice.")
            given[principle.id] = principle
    if not given:
        raise DataError(f"{path} has no adopted or proposed principle.")
    return list(given.values())


def _given(principle: Principle, path: Path, number: int) -> Principle:
    for text in (principle.text, principle.other_wording):
        reason = why_unfit(text) if text or text is principle.text else None
        if reason is not None:
            raise DataError(f"{path}: entry {number} can't be a principle: {reason}.")
    name = principle.id if principle.id.startswith("given-") else f"given-{principle.id}"
    failures = f", where it answered {len(principle.evidence)} failures" if principle.evidence else ""
    event = Event(kind="given", by=path.name, reason=f"{principle.id} there{failures}")
    return principle.happened(event, id=name, round=-1, evidence=(), trial=None)


def _items(path: Path) -> list[dict[str, Any]]:
    """The entries: `principles` of a mapping, or a list; a plain text stands for its principle."""
    try:
        data = read_json(path) if path.suffix == ".json" else read_yaml(path)
    except (OSError, ValueError) as error:
        raise DataError(f"The constitution {path} can't be read: {error}") from error
    items = data.get("principles") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise DataError(f"{path} must hold a list of principles, or a mapping with `principles`.")
    return [_item(item, path, number) for number, item in enumerate(items, start=1)]


def _item(item: Any, path: Path, number: int) -> dict[str, Any]:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise DataError(f"{path}: entry {number} must be a text, or a mapping with `text`.")
    unknown = sorted(map(str, item.keys() - set(_KEYS)))
    if unknown:
        raise DataError(f"{path}: entry {number}: unknown key {unknown[0]}; known ones: {', '.join(_KEYS)}.")
    return {"id": f"{number:02d}", "round": -1, **item, "text": " ".join(item["text"].split())}


def _principle(item: dict[str, Any], path: Path, number: int) -> Principle:
    try:
        return Principle.model_validate_json(json.dumps(item))  # JSON, since a strict record takes no list for a tuple
    except (ValidationError, TypeError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else str(error)
        raise DataError(f"{path}: entry {number}: {what}.") from error
