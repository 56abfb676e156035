"""What an endpoint takes of a request, found out once at the first contact and remembered.

Servers differ in how they ask for structured output, and in how they say no: with any status, or by ignoring it. So each
form is tried with a small request whose reply shows whether the form was kept, from the strictest to none.
"""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from iteralign.endpoints.failures import Inaccessible, Rejected, Transient
from iteralign.files import write_text
from iteralign.oracles.calls import Answer
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.text.bounded import read_json
from iteralign.text.characters import valid

Structure = Literal["json_schema", "json_object with schema", "json_object", "plain"]
LADDER: tuple[Structure, ...] = get_args(Structure)

_KEY, _WORD = "iteralign_probe", "ready"
_PROBE_SCHEMA = {
    "type": "object",
    "properties": {_KEY: {"type": "string", "enum": [_WORD]}},
    "required": [_KEY],
    "additionalProperties": False,
}
_FEW = 5  # tokens; what servers with a low limit allow
_PROBE_TOKENS = 256  # a reply has 15; the rest is for models that think first

_EFFORT_REFUSED = ("reasoning_effort", "reasoning.effort", "think value", "not support thinking")


@dataclass(frozen=True)
class Dialect:
    """How one endpoint wants to be asked, and what its replies hold."""

    structure: Structure = LADDER[0]
    obeyed: bool | None = None
    """Whether a reply was seen in the form asked for; None where that could not be seen."""
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    """Whether one may be chosen."""
    thinks: bool = False
    """Replies hold thoughts, or tell how many tokens they took."""
    counts: bool | None = None
    """Whether replies tell how many tokens were used; None before the first."""
    counts_reused: bool = False
    """Whether replies tell how much of the prompt was still known (cached tokens)."""
    model: str | None = None
    """What the endpoint calls the model that answers."""
    likelihoods: int = 20
    """First tokens whose log-probabilities may be asked for; 0 where none are told."""

    def payload(self, model: str, request: ChatRequest, structure: Structure, effort: str | None) -> dict[str, Any]:
        """The body of a call."""
        messages = [{"role": m.role, "content": valid(m.content)} for m in request.messages]
        if request.raw:
            length, heat = {"max_tokens": request.max_tokens}, {"temperature": request.temperature}
            return {"model": model, "prompt": messages[0]["content"]} | length | heat
        body: dict[str, Any] = {"model": model, "messages": messages, self.length_field: request.max_tokens}
        if self.temperature:
            body["temperature"] = request.temperature
        if effort is not None:
            body["reasoning_effort"] = effort
        if request.likelihoods and self.likelihoods:
            body |= {"logprobs": True, "top_logprobs": self.likelihoods}
        if request.schema is not None and structure != "plain":
            body["response_format"] = _response_format(structure, request.schema)
        return body

    def without(self, detail: str) -> "Dialect | None":
        """This dialect without what the endpoint's words name; None where they name nothing that can be left out."""
        if "max_completion_tokens" in detail and self.length_field == "max_tokens":
            return replace(self, length_field="max_completion_tokens")
        if "temperature" in detail and self.temperature:
            return replace(self, temperature=False)
        if "logprobs" in detail and self.likelihoods:
            return replace(self, likelihoods=_FEW if self.likelihoods > _FEW else 0)
        return None

    def heard(self, answer: Answer) -> "Dialect":
        """This dialect with what an answer tells of the endpoint."""
        counts = answer.prompt_tokens is not None and answer.completion_tokens is not None
        return replace(
            self,
            thinks=self.thinks or answer.thought,
            counts=counts if self.counts is None else self.counts,
            counts_reused=self.counts_reused or answer.reused_tokens is not None,
            model=self.model or answer.model,
        )

    def described(self) -> str:
        """In words, for people."""
        obeyed = {True: "", False: " (ignored)", None: " (not seen at work)"}[self.obeyed]
        structured = "none, replies are parsed strictly" if self.structure == "plain" else self.structure + obeyed
        thinking = "thinks before it answers" if self.thinks else "no thinking seen"
        counted = "reported" if self.counts else "estimated, since none are reported"
        reused = "reported" if self.counts_reused else "not reported"
        return f"structured output: {structured}; {thinking}; token counts {counted}, cached tokens {reused}"


class Dialects:
    """The dialects known so far by address and model, kept in a file where one is given (RUN/oracle/endpoints.json)."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Dialect] = {}
        if path is not None:
            self._known = _read(path)

    def get(self, base_url: str, model: str) -> Dialect | None:
        """None for one that has not been met."""
        with self._lock:
            return self._known.get((base_url, model))

    def put(self, base_url: str, model: str, dialect: Dialect) -> None:
        """Remember it."""
        with self._lock:
            self._known[base_url, model] = dialect
            if self.path is not None:
                rows = [{"base_url": url, "asked_for": name} | asdict(one) for (url, name), one in self._known.items()]
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_text(self.path, json.dumps(rows, indent=1) + "\n")


def probe(max_tokens: int) -> ChatRequest:
    """A small request of the first contact. It says nothing of the schema, so that only a server that enforces it obeys."""
    message = Message("user", "Say in JSON that you are ready.")
    return ChatRequest((message,), min(max_tokens, _PROBE_TOKENS), schema=_PROBE_SCHEMA)


def kept_form(structure: Structure, answer: Answer) -> bool | None:
    """Whether the answer to `probe` has the form that was asked for; None where it can't be seen."""
    if structure == "plain" or answer.refused or answer.finish == "length":
        return None
    try:
        found = json.loads(answer.text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (structure == "json_object" or found == {_KEY: _WORD})


def negotiate(ask: Callable[[Structure], bool | None], known: Structure | None = None) -> tuple[Structure, bool | None]:
    """The first form that is taken and kept, beginning with the one that is known, and whether it was seen to be kept.

    `ask` puts the probe: whether the form was kept, or an exception. A failure that may pass (5xx) does not rule a form
    out at once: it is asked again after another form was answered. Raises what the plain request raised.
    """
    order = LADDER if known is None else (known, *(one for one in LADDER if one != known))
    unsure: list[Structure] = []
    for structure in order:
        try:
            kept = ask(structure)
        except Inaccessible as problem:
            if problem.status != 404 or structure == "plain":  # some answer so where only the form is not had
                raise
            continue
        except Rejected:
            if structure == "plain":
                raise
            continue
        except Transient as problem:
            if structure == "plain" or problem.status is None or problem.status < 500:
                raise
            unsure.append(structure)
            continue
        if kept is not False or structure == "plain":
            break
    for better in unsure:
        with contextlib.suppress(Inaccessible, Rejected, Transient):
            if (again := ask(better)) is not False:
                return better, again
    return structure, kept


def refuses_effort(detail: str) -> bool:
    """Whether these words of an endpoint are about `reasoning_effort`."""
    return any(sign in detail for sign in _EFFORT_REFUSED)


def is_too_long(detail: str) -> bool:
    """Whether these words say that a request does not fit the model's context."""
    signs = ("context length", "context_length", "maximum context", "too long", "too many tokens", "context size")
    return any(sign in detail for sign in signs)


def _response_format(structure: Structure, schema: dict[str, Any]) -> dict[str, Any]:
    match structure:
        case "json_schema":
            return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
        case "json_object with schema":
            return {"type": "json_object", "schema": schema}
        case _:
            return {"type": "json_object"}


def _read(path: Path) -> dict[tuple[str, str], Dialect]:
    """What the file holds; what can't be read in it is found out anew."""
    known: dict[tuple[str, str], Dialect] = {}
    try:
        rows = read_json(path)
        for row in rows:
            dialect = Dialect(**{name: value for name, value in row.items() if name not in ("base_url", "asked_for")})
            if dialect.structure in LADDER:
                known[str(row["base_url"]), str(row["asked_for"])] = dialect
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return known
    return known
