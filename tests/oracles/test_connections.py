"""Connections are kept and used again, also over the pause in which a target is trained."""

from collections.abc import Callable
from typing import Any

import pytest

from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient

from .conftest import Server


def test_connections_are_used_again(
    server: Server, make_client: Callable[..., ChatClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    usual = server.process_request

    def noted(*given: Any) -> None:
        opened.append(given)
        usual(*given)

    monkeypatch.setattr(server, "process_request", noted)
    client = make_client(concurrency=4)
    for batch in range(5):
        client.complete([ChatRequest((Message("user", f"{batch} {n}"),), 512) for n in range(12)])
    assert len(server.requests) == 60
    assert len(opened) <= 4


def test_a_connection_outlives_a_training(server: Server, make_client: Callable[..., ChatClient]) -> None:
    client = make_client()
    client.check()
    assert client._endpoint._client is not None
    pool = client._endpoint._client._client._transport._pool  # type: ignore[attr-defined]
    assert pool._keepalive_expiry >= 300
