"""A reply by another model than was asked is noticed: once, and not for dated versions and the like."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.oracles.model_names import is_another
from iteralign.oracles.negotiation import Dialects
from iteralign.report.tables import endpoints

from . import conftest as play


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("qwen3:8b", "qwen3:8b"),
        ("mistral-small-latest", "mistral-small-2506"),
        ("claude-sonnet-4-0", "claude-sonnet-4-0-20250514"),
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("qwen2.5-coder-0.5b-instruct", "/models/qwen2.5-coder-0.5b-instruct.gguf"),
        ("qwen2.5-coder", "qwen2.5-coder-q4_k_m.gguf"),
        ("judge", None),
        ("judge", ""),
    ],
)
def test_the_same_model(asked: str, answered: str | None) -> None:
    assert not is_another(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"), [("gpt-4o", "gpt-3.5-turbo"), ("llama-3-70b", "llama-3-8b"), ("a", "b")]
)
def test_another_model(asked: str, answered: str) -> None:
    assert is_another(asked, answered)


def test_it_is_said_once_and_in_the_report(
    server: play.Server, make_client: Callable[..., ChatClient], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.loads(play.chat_body("yes")) | {"model": "another-9b"}
    server.usual = play.raw(json.dumps(body).encode())
    client = make_client(dialects=Dialects(tmp_path / "endpoints.json"))
    client.complete([ChatRequest((Message("user", f"{number}"),), 512) for number in range(5)])
    said = [record.message for record in caplog.records]
    assert len(said) == 1 and "tiny was asked for" in said[0] and "another-9b answers" in said[0]
    assert "answers as another-9b" in endpoints(tmp_path / "endpoints.json")[0]
