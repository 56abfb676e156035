"""What is asked of a model by chat, what it replies, and whoever can be asked so."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from iteralign.oracles.budget import Account


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """What is asked. Equal requests have one reply: `sample` tells apart those that are to be answered separately."""

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    schema: dict[str, Any] | None = field(default=None, hash=False)
    """JSON schema of the reply; a wish, since not every endpoint knows structured output."""
    sample: int = 0
    raw: bool = False
    """The one message's content is a text to be continued as it stands, by the completions endpoint."""
    likelihoods: bool = False
    """The log-probabilities of the likeliest first tokens are wanted with the reply."""


@dataclass(frozen=True)
class Reply:
    """What came back. Usable as an answer only where `error` is None and `refused` is False."""

    text: str
    finish: str
    """stop, length (cut short), content_filter, or error."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: bool = False
    """The model or the endpoint's content filter declined to answer."""
    error: str | None = None
    unreachable: bool = False
    """The endpoint itself seems to be down: the error says nothing about this request."""
    cached: bool = False
    estimated: bool = False
    """The endpoint did not say how many tokens it took."""
    reused_tokens: int = 0
    """Of the prompt tokens, those that the endpoint did not have to read again."""
    first: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens with their log-probabilities, where they were asked for and told."""

    @property
    def used_up_by_thinking(self) -> bool:
        """Whether it was cut off before the answer began."""
        return self.finish == "length" and not self.text.strip()


class Client(ABC):
    """One model, wherever it is."""

    model: str
    base_url: str
    """Where it is asked."""
    section: str
    """Where its settings stand, for messages that say what to change."""
    max_tokens: int
    """What an oracle allows a reply."""
    concurrency: int
    """Requests that may be under way at once; 0: it takes all together, from one thread."""
    account: "Account | None"
    """Counts the calls."""

    @abstractmethod
    def check(self) -> None:
        """The first contact, before anything is spent. Raises what says that the model can't be asked."""

    @abstractmethod
    def complete(
        self,
        requests: Sequence[ChatRequest],
        *,
        step: str = "oracle",
        on_reply: Callable[[int, Reply], None] | None = None,
    ) -> list[Reply]:
        """One reply per request, in their order; `on_reply(index, reply)` is called in this thread as they come in."""

    @abstractmethod
    def kept(self, request: ChatRequest) -> Reply | None:
        """What was replied before, where replies are kept."""

    @abstractmethod
    def forget(self, requests: Sequence[ChatRequest]) -> None:
        """Ask these again the next time, whatever is kept."""

    @property
    @abstractmethod
    def answers_as(self) -> str | None:
        """What the model that answers is called where it is; None where nobody says."""

    @abstractmethod
    def described(self) -> str:
        """What it takes and reports, for people."""


def content_key(where: str, model: str, request: ChatRequest, effort: str | None = None) -> str:
    """Hash of all that a reply depends on."""
    asked = asdict(request)
    for later in ("raw", "likelihoods"):
        if not asked[later]:
            del asked[later]  # as it was before there were such requests, so that older replies are still found
    content: list[Any] = [1, where, model, asked]
    if effort is not None:
        content.append(effort)
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
