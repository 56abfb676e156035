"""A model of this process asked as a server would be."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import BudgetReached, ConfigError
from iteralign.interfaces import Target
from iteralign.oracles.budget import Account, read_calls
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.local import LocalClient
from iteralign.oracles.probability import ProbabilityOracle
from iteralign.records import Generation, Sampling
from iteralign.settings.oracle import EndpointSettings, OracleSettings
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel

from .conftest import response

RULES = OracleSettings(kind="rules")


class Owner:
    """Weights by name."""

    def __init__(self, weights: str = "w", template: bool = True) -> None:
        self.weights = weights
        self.template = template

    @property
    def render_chat(self) -> Callable[[list[dict[str, str]]], str] | None:
        return (
            (lambda messages: "".join(f"<{one['role']}>{one['content']}" for one in messages))
            if self.template
            else None
        )

    def fingerprint(self) -> str:
        return self.weights


class Echo(Target):
    """Says what it was asked, and finds Yes the likelier the longer the text."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        self.batches.append(len(inputs))
        return [Generation(text=text, finish="stop", prompt_tokens=3, tokens=2) for text in inputs]

    def load(self, checkpoint: Any) -> None:
        raise AssertionError("nobody trains it")

    def first_tokens(self, inputs: Sequence[str], count: int) -> list[tuple[tuple[str, float], ...] | None]:
        self.batches.append(len(inputs))
        return [None if "too long" in text else (("No", -0.1), ("Yes", -2.3)) for text in inputs]


def client(echo: Echo, owner: Owner | None = None, **settings: Any) -> LocalClient:
    return LocalClient(
        EndpointSettings(model="tiny", base_url="local"), owner or Owner(), echo, echo.first_tokens, **settings
    )


def asked(*texts: str, **how: Any) -> list[ChatRequest]:
    return [ChatRequest((Message("user", text),), **({"max_tokens": 512} | how)) for text in texts]


def test_equal_requests_are_answered_once_and_kept_by_the_weights(tmp_path: Path) -> None:
    echo, cache = Echo(), ReplyCache(tmp_path / "replies.sqlite")
    first = client(echo, cache=cache).complete(asked("a", "b", "a"))
    assert [reply.text for reply in first] == ["<user>a", "<user>b", "<user>a"] and echo.batches == [2]
    again = client(echo, cache=cache).complete(asked("b", "c"))
    assert again[0].cached and not again[1].cached and echo.batches == [2, 1]
    client(echo, Owner("other weights"), cache=cache).complete(asked("a"))
    assert echo.batches == [2, 1, 1], "other weights by the same name reply for themselves"
    client(echo, cache=cache).forget(asked("a"))
    client(echo, cache=cache).complete(asked("a", "b"))
    assert echo.batches == [2, 1, 1, 1]


def test_calls_are_counted_and_cost_nothing(tmp_path: Path) -> None:
    account = Account(tmp_path / "calls.jsonl", cost_budget=1.0)
    client(Echo(), account=account).complete(asked("a", "b"), step="judge")
    calls = read_calls(tmp_path / "calls.jsonl")
    assert [(call.step, call.completion_tokens, call.cost) for call in calls] == [("judge", 2, 0.0)] * 2
    with pytest.raises(BudgetReached):
        client(Echo(), account=Account(token_budget=5)).complete(asked("a"))


def test_what_does_not_fit_costs_that_verdict_alone() -> None:
    verdicts = ProbabilityOracle(RULES, client(Echo())).judge([response("q", "fits"), response("q", "too long")])
    assert [verdict.label for verdict in verdicts] == ["acceptable", "undetermined"]
    assert "does not fit" in verdicts[1].reason


def test_a_model_without_a_chat_template_is_told() -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        ProbabilityOracle(RULES, client(Echo(), Owner(template=False))).check()


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
def test_first_tokens_are_those_of_the_model(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Whatever batch they were in, and whatever its model's own settings for generating say."""
    import torch

    model = LocalModel(str(request.getfixturevalue(name)), root=tmp_path, device="cpu")
    texts = [f"\n\nHuman: the same long beginning, {'and more ' * n}number {n}?" for n in range(5)]
    found = TransformersTarget(model, batch_size=3).first_tokens(texts, 4)
    network = model.at(model.base)
    for text, row in zip(texts, found, strict=True):
        with torch.no_grad():
            scores = network(input_ids=torch.tensor([encode(model.tokenizer, text)])).logits[0, -1].log_softmax(-1)
        best = scores.topk(4)
        assert row is not None and [token for token, _ in row] == [model.tokenizer.decode([i]) for i in best.indices]
        assert [score for _, score in row] == pytest.approx(best.values.tolist(), abs=1e-4)
    long = "why " * 5000
    too_long, short = TransformersTarget(model).first_tokens([long, texts[0]], 4)
    assert too_long is None and short is not None and len(short) == 4
