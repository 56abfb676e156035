"""One call of a model for an oracle: the endpoint's reply, read strictly from its bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iteralign.endpoints.endpoint import Endpoint, as_object, first_choice
from iteralign.endpoints.failures import LONGEST_WORDS, Rejected, Transient, excerpt
from iteralign.endpoints.keys import redact
from iteralign.oracles.thinking import without_thinking
from iteralign.text.characters import valid


@dataclass(frozen=True)
class Answer:
    """What the endpoint answered."""

    text: str
    finish: str
    prompt_tokens: int | None
    """None where the endpoint did not say."""
    completion_tokens: int | None
    refused: bool
    reused_tokens: int | None = None
    """Of the prompt tokens, those that the endpoint still had from earlier requests; None where it did not say."""
    thought: bool = False
    """The model thought before it answered; `text` is the answer alone."""
    model: str | None = None
    """What the endpoint calls the model that answered."""
    first: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens with their log-probabilities, where they were asked for and told."""


def call(endpoint: Endpoint, payload: Mapping[str, Any]) -> Answer:
    """Ask for a chat completion, or of a `prompt` a plain one. Raises Transient, Refused, Rejected or Inaccessible."""
    try:
        body = endpoint.post("/completions" if "prompt" in payload else "/chat/completions", payload)
    except Rejected as problem:
        if problem.status == 400 and "could not finish the message" in problem.detail:
            return Answer("", "length", None, None, refused=False, thought=True)  # OpenAI's, of an o-model
        raise
    return read_answer(body)


def read_answer(body: bytes) -> Answer:
    """The first choice of a completion. Raises Transient for anything that is not one, or is an empty one."""
    data = as_object(body)
    choice = first_choice(data)
    message = choice.get("message") if choice is not None else None
    if message is None and choice is not None and isinstance(choice.get("text"), str):
        message = {"content": choice["text"]}  # of a completion that was not a chat
    if choice is None or not isinstance(message, dict):
        raise Transient(f"the reply is not a chat completion: {excerpt(body)}")
    finish = choice.get("finish_reason")
    finish = redact(valid(finish)) if isinstance(finish, str) else "stop"
    refused = finish == "content_filter" or bool(message.get("refusal"))
    said = _text(message.get("content"))
    usage = _dict(data.get("usage"))
    text = without_thinking(said)
    thought = text != said or _shows_thoughts(message, usage)
    first = _first_tokens(choice.get("logprobs"))
    if not text.strip() and not refused and finish != "length" and not first:
        raise Transient("the reply is thoughts and no answer" if thought else "the reply is empty", few=True)
    clean = redact(valid(text))
    prompt_tokens, completion_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if unnamed := _unnamed(usage):
        thought, completion_tokens = True, (completion_tokens or 0) + unnamed
    model = data.get("model")
    model = redact(valid(model))[:LONGEST_WORDS] if isinstance(model, str) else None
    return Answer(clean, finish, prompt_tokens, completion_tokens, refused, _reused(data, usage), thought, model, first)


def _first_tokens(logprobs: object) -> tuple[tuple[str, float], ...]:
    """The candidates for the first token; none where anything about them is not as OpenAI documents it."""
    tokens = _dict(logprobs).get("content")
    candidates = _dict(tokens[0]).get("top_logprobs") if isinstance(tokens, list) and tokens else None
    if not isinstance(candidates, list):
        return ()
    pairs = [(one.get("token"), one.get("logprob")) for one in map(_dict, candidates)]
    return tuple(
        (redact(valid(token)), float(score))
        for token, score in pairs
        if isinstance(token, str) and isinstance(score, int | float) and score <= 0
    )


def _text(content: object) -> str:
    """A message's content; of one that comes in parts (Mistral's reasoning models) the text alone."""
    if isinstance(content, list):
        parts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(parts) if parts or not content else content
    if content is not None and not isinstance(content, str):
        raise Transient("the reply's content is not text", few=True)
    return content or ""


def _shows_thoughts(message: dict[str, Any], usage: dict[str, Any]) -> bool:
    """Whether there are thoughts in a field of their own, or tokens that went into them."""
    spent = _count(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return bool(message.get("reasoning_content") or message.get("reasoning") or spent)


def _unnamed(usage: dict[str, Any]) -> int:
    """Tokens that are in the total alone: thoughts, as Gemini counts them, which are paid for like an answer."""
    total, sent, received = (_count(usage.get(f"{name}_tokens")) for name in ("total", "prompt", "completion"))
    return max(0, total - sent - received) if total and sent and received is not None else 0


def _reused(data: dict[str, Any], usage: dict[str, Any]) -> int | None:
    """What servers call cached tokens, each in its own place."""
    places = (
        (usage.get("prompt_tokens_details"), "cached_tokens"),  # OpenAI, vLLM, llama-server
        (usage, "prompt_cache_hit_tokens"),  # DeepSeek
        (usage, "cache_read_input_tokens"),  # Anthropic's, as proxies pass it on
        (data.get("timings"), "cache_n"),  # llama-server of older versions
    )
    counts = (_count(place.get(name)) for place, name in places if isinstance(place, dict))
    return next((count for count in counts if count is not None), None)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
