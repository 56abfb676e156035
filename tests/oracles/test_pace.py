"""A rate limit that the endpoint tells of is followed by all calls, not found out by each."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from iteralign.endpoints.pace import CallPace, seconds
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient

from .conftest import Handler, Server, chat_body, judgement, status


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest((Message("user", f"number {n}"),), 512) for n in range(count)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1h2m3s", 3723),
        ("7", 7),
        ("0.5", 0.5),
        ("", 0),
        ("soon", 0),
        ("-3", 0),
    ],
)
def test_times_are_read(text: str, wanted: float) -> None:
    assert seconds(text) == pytest.approx(wanted)


def test_one_429_holds_all_calls(server: Server, make_client: Callable[..., ChatClient]) -> None:
    """Two calls at once, one is told to come back: whoever is done with the other begins no third before that time."""
    times: list[float] = []

    def limited(handler: Handler, body: dict[str, object]) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            return status(429, "slow down", retry_after_ms="500")(handler, body)
        time.sleep(0.3)
        return handler.send(chat_body(judgement()))

    server.usual = limited
    replies = make_client(concurrency=2, timeout=20.0).complete(requests(6))
    assert all(reply.error is None for reply in replies)
    assert len(times) == 7
    assert times[2] - times[0] >= 0.49


def test_a_limit_used_up_is_waited_for_without_a_429(server: Server, make_client: Callable[..., ChatClient]) -> None:
    times: list[float] = []

    def counted(handler: Handler, body: dict[str, object]) -> None:
        times.append(time.monotonic())
        left: dict[str, Any] = (
            {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "300ms"} if len(times) == 3 else {}
        )
        handler.send(chat_body(judgement()), **left)

    server.usual = counted
    make_client(concurrency=1, timeout=20.0).complete(requests(6))
    assert len(times) == 6
    assert times[3] - times[2] >= 0.29


def test_whoever_stops_does_not_wait() -> None:
    pace = CallPace()
    pace.hold(30)
    stop = threading.Event()
    stop.set()
    begin = time.monotonic()
    assert pace.wait(stop)
    assert time.monotonic() - begin < 5
