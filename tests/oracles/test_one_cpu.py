"""A judge's server on the CPU that the target computes on: neither takes the processor from the other."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iteralign.runs import build
from iteralign.runs.run import run
from iteralign.settings.settings import load_settings
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.model import LocalModel

from . import conftest as play
from .test_whole_run import sensible


@pytest.mark.slow
@pytest.mark.parametrize("here", [True, False])
def test_a_judge_on_this_machine_is_asked_while_no_answer_is_generated(
    server: play.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    busy, seen = threading.Event(), list[bool]()
    stream = TransformersTarget.stream

    def watched(self: TransformersTarget, *given: Any) -> Iterator[Any]:
        busy.set()
        try:
            for one in stream(self, *given):
                yield one
                time.sleep(0.02)  # as if the next answer took as long
        finally:
            busy.clear()

    def usual(handler: play.Handler, body: dict[str, Any]) -> None:
        seen.append(busy.is_set())
        sensible(handler, body)

    monkeypatch.setattr(TransformersTarget, "stream", watched)
    monkeypatch.setattr(build, "is_here", lambda _: here)
    server.usual = usual
    values = {
        "model": {"path": "demo", "device": "cpu"},
        "data": {"prompts": "demo", "limit": 40, "held_out": 0.5, "benign_limit": 20},
        "oracle": {"judge": {"model": "tiny", "base_url": server.url, "concurrency": 4}},
        "rounds": {"prompts": 5, "limit": 2},
        "sampling": {"max_new_tokens": 32},
        "constitution": {"gate": {"enabled": False}},
    }
    outcome = run(load_settings(values), tmp_path / "run")
    assert len(outcome.metrics) == 3 and len(seen) > 40
    if here:
        assert not any(seen)
    else:
        assert sum(seen) > len(seen) / 2, "it judges while further answers are generated"


@pytest.mark.parametrize(
    ("oracle", "model", "device", "shared"),
    [
        ({"judge": {"model": "m", "base_url": "http://127.0.0.1:8080/v1"}}, {}, "cpu", True),
        ({"judge": {"model": "m", "base_url": "http://localhost:11434/v1"}}, {}, "cpu", True),
        ({"judge": {"model": "m", "base_url": "http://[::1]:8080/v1"}}, {}, "cpu", True),
        ({"judge": {"model": "m", "base_url": "http://127.0.0.1:8080/v1"}}, {}, "cuda", False),
        ({"judge": {"model": "m", "base_url": "http://127.0.0.1:8080/v1"}}, {"engine": "served"}, "cpu", False),
        ({"judge": {"model": "m", "base_url": "https://judge.example/v1"}}, {}, "cpu", False),
        ({"judge": {"model": "m", "base_url": "local"}}, {}, "cpu", False),
        ({"judge": {"model": "m"}}, {}, "cpu", False),
        ({"kind": "rules"}, {}, "cpu", False),
    ],
)
def test_who_shares_a_cpu(oracle: dict[str, Any], model: dict[str, Any], device: str, shared: bool) -> None:
    settings = load_settings({"model": {"path": "demo"} | model, "data": {"prompts": "demo"}, "oracle": oracle})
    owner = cast(LocalModel, SimpleNamespace(arithmetic=SimpleNamespace(device=device)))
    assert build.shares_a_cpu(settings, owner) is shared
    assert not build.shares_a_cpu(settings, None), "a target that somebody else has made"
