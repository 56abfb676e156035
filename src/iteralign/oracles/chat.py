"""What is asked of a chat endpoint."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """What is asked. Equal requests have one reply: `sample` tells apart those that are to be answered separately."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    schema: dict[str, Any] | None = field(default=None, hash=False)
    """JSON schema of the reply; a wish, since not every endpoint knows structured output."""
    sample: int = 0
    raw: bool = False
    """The one message's content is a text to be continued as it stands, by the completions endpoint."""
