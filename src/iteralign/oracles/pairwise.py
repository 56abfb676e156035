"""A language model that says which of two answers is better."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from iteralign.errors import OracleError
from iteralign.oracles.chat import ChatRequest, Client, Message, Reply
from iteralign.oracles.reading import Fence, Said, Unreadable, read_json
from iteralign.prompts import OwnTexts, load_template
from iteralign.records import Preference, Response

FIELDS = frozenset({"history", "question", "first", "second"})
COMPARE_SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "better": {"type": "string", "enum": ["first", "second", "tie"]}},
    "required": ["reason", "better"],
    "additionalProperties": False,
}


class BetterOfTwo(BaseModel):
    """The reply."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: Said
    better: Literal["first", "second", "tie"]


class LLMComparer:
    """Compares by asking a model with compare.txt, or the user's own text with the same fields."""

    def __init__(self, client: Client, texts: OwnTexts = None) -> None:
        self.client = client
        self.text = load_template("compare", FIELDS, texts)

    def compare(self, pairs: Sequence[tuple[Response, Response]]) -> list[Preference]:
        """One preference for each pair. Raises OracleError where the endpoint is down."""
        replies = self.client.complete([self._request(*pair) for pair in pairs], step="compare")
        for reply in replies:
            if reply.unreachable:
                raise OracleError(f"The oracle {self.client.model} stopped answering: {reply.error}.")
        return [_preference(reply) for reply in replies]

    def _request(self, first: Response, second: Response) -> ChatRequest:
        speaker = {"human": "Human", "assistant": "Assistant"}
        history = "\n\n".join(f"{speaker[turn.role]}: {turn.text}" for turn in first.prompt.history)
        question = first.prompt.question
        fence = Fence.around([history, question, first.text, second.text])
        text = self.text.fill(
            history=fence.put("conversation", history) if history else "(there was none)",
            question=fence.put("question", question),
            first=fence.put("first answer", first.text),
            second=fence.put("second answer", second.text),
        )
        return ChatRequest((Message("user", text),), self.client.max_tokens, schema=COMPARE_SCHEMA)


def _preference(reply: Reply) -> Preference:
    if reply.error is not None or reply.refused or reply.finish == "length":
        return "undetermined"
    try:
        return read_json(BetterOfTwo, reply.text).better
    except Unreadable:
        return "undetermined"
