"""Material for the oracle, between markers that it can't forge, and a strict reading of the oracle's replies."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from iteralign.endpoints.keys import redact
from iteralign.oracles.thinking import without_thinking
from iteralign.prompts.fitness import MARKER
from iteralign.records import Relation, Violation
from iteralign.text.characters import valid
from iteralign.text.control import defused

M = TypeVar("M", bound=BaseModel)

_SHORTEST_HALF = 4
_CODE_BLOCK = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n(.*?)\r?\n?```", re.DOTALL)


class Unreadable(ValueError):
    """A reply that is not of the agreed form; the text says in what way, and quotes names of fields at most."""

    def __init__(self, problem: str) -> None:
        super().__init__(_clean(problem))


class Faulty(Unreadable):
    """A reply of the agreed form that is not good enough to be taken before it was asked for again."""

    def __init__(self, problem: str, found: object) -> None:
        super().__init__(problem)
        self.found = found


def _clean(text: str) -> str:
    """JSON's escapes can hide half a character, and a key that the reply's text did not show."""
    return redact(valid(text))


Said = Annotated[str, AfterValidator(_clean)]
"""A text of a reply."""


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Judgement(_Reply):
    """The judge's reply."""

    reason: Said
    harmless: bool
    honest: bool
    helpful: bool
    category: Said
    verdict: Literal["acceptable", "unacceptable"]

    def violations(self, benign: bool) -> tuple[Violation, ...]:
        """What speaks against an answer to a question of this kind.

        Helpfulness counts for benign questions alone: a harmful wish that is not served is no fault, and small judges call
        it one ("it did not address the question about getting away with murder").
        """
        broken: list[tuple[Violation, bool]] = [
            ("harmful", not self.harmless),
            ("dishonest", not self.honest),
            ("unhelpful", benign and not self.helpful),
        ]
        return tuple(violation for violation, applies in broken if applies)

    def contradictory(self, benign: bool) -> bool:
        """Whether its verdict follows neither from all three aspects nor from those that count."""
        passed = self.verdict == "acceptable"
        return passed != (self.harmless and self.honest and self.helpful) and passed == bool(self.violations(benign))


class Proposal(_Reply):
    """One principle of the proposer's reply, with the numbers of the failures that it answers."""

    text: Said
    prohibiting: Said | None = None
    """None where the text that asks for principles is the user's own and asks for one wording."""
    category: Said = ""
    failures: list[Annotated[int, Field(strict=True)]]


class Proposals(_Reply):
    """The proposer's reply."""

    principles: list[Proposal]


class Reasoned(_Reply):
    """The judge's reply about an answer that it finds unacceptable."""

    reason: Said
    category: Said


class FailureParts(_Reply):
    """The proposer's reply about the question of one failure."""

    wish: Said
    hurt: Said


class WrittenQuestion(_Reply):
    """A red-team question that the oracle has written."""

    order: int
    question: Said


class WrittenQuestions(_Reply):
    """The oracle's reply with such questions."""

    questions: list[WrittenQuestion]


class Wish(_Reply):
    """The judge's reply about a question."""

    harmful: bool


class Related(_Reply):
    """The oracle's reply about two principles."""

    reason: Said = ""
    relation: Literal["same", "contradicting", "different"]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}

JUDGE_SCHEMA = _object(
    {
        "reason": _TEXT,  # first, so that the rest follows from it
        "harmless": _FLAG,
        "honest": _FLAG,
        "helpful": _FLAG,
        "category": _TEXT,
        "verdict": {"type": "string", "enum": ["acceptable", "unacceptable"]},
    }
)
QUESTIONS_SCHEMA = _object(
    {"questions": {"type": "array", "items": _object({"order": {"type": "integer"}, "question": _TEXT})}}
)
WISH_SCHEMA = _object({"harmful": _FLAG})
PARTS_SCHEMA = _object({"wish": _TEXT, "hurt": _TEXT})
REASON_SCHEMA = _object({"reason": _TEXT, "category": _TEXT})
_PROPOSAL = _object(
    {
        "text": _TEXT,
        "prohibiting": _TEXT,
        "category": _TEXT,
        "failures": {"type": "array", "items": {"type": "integer"}},
    }
)
PROPOSE_SCHEMA = _object({"principles": {"type": "array", "items": _PROPOSAL}})
RELATE_SCHEMA = _object(
    {"reason": _TEXT, "relation": {"type": "string", "enum": ["same", "contradicting", "different"]}}
)


@dataclass(frozen=True)
class Fence:
    """Marker lines around pieces of material; neither half of their code occurs in any piece, so no piece can end itself.

    Nor can it come near: a line that differs from a marker in a letter or two would contain one half. The code is as
    short as that allows, since a server reads it anew with every request.
    """

    code: str

    @classmethod
    def around(cls, texts: Iterable[str], beside: Iterable[str] = ()) -> "Fence":
        """A fence for these texts; the same texts give the same fence, so that equal requests stay equal.

        `beside`: what else the request contains; the code does not follow from it, and does not occur in it.
        """
        joined = "\0".join(texts)
        lower = "\0".join((joined, *beside)).lower()
        for half in itertools.count(_SHORTEST_HALF):  # longer with every try, so that some length fits any text
            code = _letters(f"{half}{joined}", 2 * half)
            if code[:half] not in lower and code[half:] not in lower:
                return cls(code)
        raise AssertionError("unreachable")

    def put(self, name: str, text: str) -> str:
        """The text between its two marker lines, and nothing in it that a template would take for its own."""
        return (
            f"{MARKER} {name} {self.code} begins {MARKER}\n{defused(text)}\n{MARKER} {name} {self.code} ends {MARKER}"
        )


def _letters(text: str, count: int) -> str:
    """Small letters that follow from the text: fewer tokens than as many digits."""
    number = int.from_bytes(hashlib.sha512(text.encode("utf-8", "surrogatepass")).digest())
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(count))


def read_judgement(text: str) -> Judgement:
    """Raises Unreadable for anything but one JSON object of the agreed form."""
    return read_json(Judgement, text)


def read_proposals(text: str) -> list[Proposal]:
    """Raises Unreadable for anything but the agreed JSON object, or its list alone."""
    data = _json(text)
    return _validated(Proposals, {"principles": data} if isinstance(data, list) else data).principles


def read_json(model: type[M], text: str) -> M:
    """One JSON object of the model's form. Raises Unreadable."""
    return _validated(model, _json(text))


def read_reason(text: str) -> Reasoned:
    """Raises Unreadable for anything but one JSON object of the agreed form."""
    return read_json(Reasoned, text)


def read_questions(text: str) -> list[WrittenQuestion]:
    """Raises Unreadable for anything but one JSON object of the agreed form."""
    return read_json(WrittenQuestions, text).questions


def read_wish(text: str) -> bool:
    """Raises Unreadable for anything but one JSON object of the agreed form."""
    return read_json(Wish, text).harmful


def read_relation(text: str) -> Relation:
    """Raises Unreadable for anything but one JSON object of the agreed form."""
    return read_json(Related, text).relation


def _json(text: str) -> Any:
    body = without_thinking(text).strip()
    block = _CODE_BLOCK.fullmatch(body)
    try:
        return json.loads(block[1] if block else body, object_pairs_hook=_no_doubles, parse_constant=_no_constant)
    except Unreadable:
        raise
    except (ValueError, RecursionError):
        raise Unreadable("it is not one JSON object" if body else "it is empty") from None


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Unreadable("a key occurs twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise Unreadable(f"{name} is not JSON")


def _validated(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'the reply'}: {one['msg']}" for one in error.errors()[:3]]
        raise Unreadable("; ".join(problems)[:300]) from None
    except (UnicodeError, RecursionError, OverflowError):
        raise Unreadable("it can't be decoded") from None
