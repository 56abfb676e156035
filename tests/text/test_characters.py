"""Half an emoji: whatever text comes from outside, every record can be stored and reads back equal."""

import random
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest

import iteralign.scoreboard.metrics  # noqa: F401 - defines records
from iteralign.records import Event, Principle, Record, Sampling
from iteralign.scoreboard.guard_rails import Intervention  # noqa: F401
from iteralign.text.characters import valid

PIECES = ("\ud83d", "\ude00", "\udfff", "\ud83d\ude00", "a", " ", "\x00", "\u2028", "é", "😀", "\uffff", '"', "\\")


def all_records() -> list[type[Record]]:
    found: list[type[Record]] = []
    left: list[type[Record]] = [Record]
    while left:
        for kind in left.pop().__subclasses__():
            if kind.__module__.startswith("iteralign."):
                found.append(kind)
                left.append(kind)
    return found


def text(draw: random.Random) -> str:
    return "".join(draw.choice(PIECES) for _ in range(draw.randint(0, 6)))


def made(kind: Any, draw: random.Random) -> Any:
    """A value of an annotation, with such texts wherever there is one."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return draw.choice(inner)
    if origin in (Union, UnionType):
        return made(draw.choice(inner), draw)
    if origin is tuple:
        parts = inner[:1] * draw.randint(0, 2) if inner[-1] is Ellipsis else inner
        return tuple(made(part, draw) for part in parts)
    if origin is dict:
        return {text(draw): made(inner[1], draw) for _ in range(draw.randint(0, 2))}
    if origin is not None:  # Annotated
        return made(inner[0], draw)
    if kind is NoneType:
        return None
    if isinstance(kind, type) and issubclass(kind, Record):
        fields = {name: made(field.annotation, draw) for name, field in kind.model_fields.items()}
        return kind(**fields | ({"temperature": 0.5, "top_p": 1.0, "min_p": 0.0} if kind is Sampling else {}))
    plain: dict[Any, Callable[[], Any]] = {
        str: lambda: text(draw),
        int: lambda: draw.randint(1, 9),
        float: lambda: 0.01 + 0.99 * draw.random(),
    }
    return plain[kind]() if kind in plain else draw.random() < 0.5


def test_the_records_are_all_there() -> None:
    assert len(all_records()) >= 20


@pytest.mark.parametrize("kind", all_records())
def test_any_text_in_any_field_can_be_stored(kind: type[Record]) -> None:
    draw = random.Random(13)
    for _ in range(60):
        record = made(kind, draw)
        line = record.model_dump_json()
        assert kind.model_validate_json(line) == record
        line.encode("utf-8")


def test_what_happens_to_a_principle_can_be_stored() -> None:
    rule = Principle(id="1", text="x", round=0).happened(Event(kind="edited"), text="half \ud83d")
    assert rule.text == "half \ufffd" and rule.model_dump_json()


def test_ordinary_text_is_kept_and_pairs_are_joined() -> None:
    for same in ("", "abc", "é", "😀", "\x00", "\ufeffx", "\uffff"):
        assert valid(same) == same
    assert valid("\ud83d\ude00") == "😀" and valid("a\ud83db\udc00") == "a\ufffdb\ufffd"
