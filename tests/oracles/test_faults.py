"""Every way in which an endpoint can fail a call."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from iteralign.endpoints.failures import parse_retry_after
from iteralign.errors import OracleAccessError, OracleError
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient

from . import conftest as play

Make = Callable[..., ChatClient]


def ask(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), **({"max_tokens": 512} | fields))


PASSING = {
    "429": play.status(429, "slow down"),
    "429 with Retry-After": play.status(429, "slow down", Retry_After="0.3"),
    "500": play.status(500),
    "503": play.status(503, "overloaded"),
    "reset": play.reset,
    "never answers": play.hang,
    "half JSON": play.half,
    "not JSON": play.raw(b"<html>bad gateway</html>"),
    "cut JSON": play.raw(b'{"choices": [{"mess'),
    "wrong JSON": play.raw(b'{"answer": 42}'),
    "JSON list": play.raw(b"[]"),
    "no choices": play.raw(b'{"choices": []}'),
    "null choice": play.raw(b'{"choices": [null]}'),
    "deep JSON": play.raw(b"[" * 100_000),
    "empty body": play.raw(b""),
    "invalid UTF-8": play.raw(b"\xff\xfe\x00"),
    "empty": play.text(""),
    "blank": play.text(" \n "),
    "null": play.text(None),
    "10 MB": play.raw(play.chat_body("x" * 10_000_000)),
    "slow drip": play.drip,
    "slow headers": play.drip_headers,
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_survived(fault: str, server: play.Server, make_client: Make) -> None:
    server.script = [PASSING[fault]]
    server.usual = play.text("fine")
    start = time.monotonic()
    (reply,) = make_client().complete([ask("hello")])
    assert (reply.text, reply.error) == ("fine", None)
    assert len(server.requests) == 2
    if "Retry-After" in fault:
        assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize("fault", ["500", "never answers", "reset", "wrong JSON", "empty", "10 MB", "slow drip"])
def test_a_lasting_fault_ends_in_an_error_and_says_that_the_endpoint_is_down(
    fault: str, server: play.Server, make_client: Make
) -> None:
    server.usual = PASSING[fault]
    start = time.monotonic()
    replies = make_client(max_retries=1, timeout=0.3, concurrency=2).complete([ask(f"{n}") for n in range(6)])
    assert time.monotonic() - start < 5
    assert all(reply.error and reply.unreachable and not reply.text for reply in replies)
    assert len(server.requests) <= 2 * 2 + 2  # the first two, tried twice and probed; the rest is not sent


def test_a_server_that_is_too_slow_is_told_with_the_setting_to_raise(server: play.Server, make_client: Make) -> None:
    server.usual = PASSING["never answers"]
    (reply,) = make_client(max_retries=1, timeout=0.3).complete([ask("hello")])
    assert reply.error == "timed out: no reply within 0.3 s. A slow server needs a longer `timeout` (after 2 tries)"


def test_a_request_that_alone_fails_does_not_stop_the_others(server: play.Server, make_client: Make) -> None:
    def poison(handler: play.Handler, body: dict[str, Any]) -> None:
        (play.status(500) if "poison" in str(body) else play.text("fine"))(handler, body)

    server.usual = poison
    replies = make_client(max_retries=2).complete([ask("a"), ask("poison"), ask("b")])
    assert [reply.text for reply in replies] == ["fine", "", "fine"]
    assert replies[1].error and not replies[1].unreachable


def test_retries_are_bounded_in_time(server: play.Server, make_client: Make) -> None:
    server.usual = play.status(503)
    start = time.monotonic()
    (reply,) = make_client(max_retries=10_000, retry_seconds=1.0, backoff=0.1).complete([ask("a")])
    assert reply.unreachable and time.monotonic() - start < 3


def test_a_retry_after_beyond_the_time_left_gives_up_at_once(server: play.Server, make_client: Make) -> None:
    server.usual = play.status(429, Retry_After="3600")
    start = time.monotonic()
    (reply,) = make_client().complete([ask("a")])
    assert reply.unreachable and time.monotonic() - start < 1


def test_retry_after_is_read_as_number_date_or_not_at_all() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert parse_retry_after({"retry-after": "2"}) == 2
    assert parse_retry_after({"retry-after-ms": "250"}) == 0.25
    assert parse_retry_after({"retry-after": "Thu, 01 Jan 2026 12:00:07 GMT"}, now) == 7
    assert parse_retry_after({"retry-after": "Thu, 01 Jan 2025 12:00:07 GMT"}, now) == 0
    for nonsense in ("", "soon", "-1", "nan", "inf"):
        assert parse_retry_after({"retry-after": nonsense}) is None


@pytest.mark.parametrize("code", [401, 403, 404, 402, 301])
def test_no_access_stops_at_once(code: int, server: play.Server, make_client: Make) -> None:
    server.usual = play.status(code, "nothing for you", Location="http://127.0.0.1/elsewhere")
    with pytest.raises(OracleAccessError, match="nothing for you"):
        make_client(concurrency=1).complete([ask(f"{n}") for n in range(5)])
    assert len(server.requests) == 1
    with pytest.raises(OracleAccessError):
        make_client().check()


def test_an_empty_account_stops_at_once(server: play.Server, make_client: Make) -> None:
    server.usual = play.raw(b"")
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    server.usual = lambda handler, _: handler.send(body, 429)
    with pytest.raises(OracleAccessError, match="credit"):
        make_client().check()
    assert len(server.probes) == 1


def test_a_wrong_path_says_so(server: play.Server, make_client: Make) -> None:
    with pytest.raises(OracleAccessError, match="base_url"):
        make_client(base_url=server.url.removesuffix("/v1")).check()


def test_nobody_listening_stops_at_once(make_client: Make) -> None:
    start = time.monotonic()
    with pytest.raises(OracleAccessError, match="Is the server running"):
        make_client(base_url="http://127.0.0.1:9/v1").check()
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://x/v1", "http:///v1", "http://me:pw@x/v1", "http://x/v1?key=1"]
)
def test_an_address_that_is_none_is_refused(url: str, make_client: Make) -> None:
    with pytest.raises(ValidationError, match="base_url") as found:
        make_client(base_url=url)
    assert "pw" not in str(found.value)


def test_a_server_that_is_down_for_a_while_is_waited_for(server: play.Server, make_client: Make) -> None:
    server.usual = play.text("fine")
    client = make_client(backoff=0.2)
    client.check()
    server.usual = play.reset  # also on the connection that is still open
    server.shutdown()
    server.server_close()
    revived: list[play.Server] = []

    def revive() -> None:
        revived.append(play.Server(server.port))
        revived[0].usual = play.text("fine again")

    timer = threading.Timer(1.0, revive)
    timer.start()
    replies = client.complete([ask("a"), ask("b")])
    timer.join()
    revived[0].shutdown()
    revived[0].server_close()
    assert [reply.text for reply in replies] == ["fine again"] * 2


def test_a_third_of_all_calls_failing_loses_nothing_and_judges_nothing_twice(
    server: play.Server, make_client: Make
) -> None:
    luck, answered = random.Random(3), Counter[str]()
    quick = [
        name for name in PASSING if name not in ("never answers", "slow drip", "slow headers", "10 MB", "deep JSON")
    ]

    def flaky(handler: play.Handler, body: dict[str, Any]) -> None:
        with server.lock:
            fault = luck.choice(quick) if luck.random() < 1 / 3 else None
        if fault is not None:
            return PASSING[fault](handler, body)
        content = body["messages"][0]["content"]
        number = int(content.split("answer number ")[1].split()[0])
        with server.lock:
            answered[str(number)] += 1
        return play.text(play.judgement(number % 2 == 0))(handler, body)

    server.usual = flaky
    responses = [play.response(f"question {n}", f"answer number {n} ends") for n in range(120)]
    verdicts = play.llm(make_client(max_retries=12, timeout=5, retry_seconds=60)).judge(responses)
    assert [verdict.response for verdict in verdicts] == responses
    # An endpoint that keeps giving empty replies is asked a few times only: such a call may stay undetermined.
    labels = [verdict.label for verdict in verdicts]
    assert all(
        label == ("acceptable" if n % 2 == 0 else "unacceptable")
        for n, label in enumerate(labels)
        if label != "undetermined"
    )
    assert labels.count("undetermined") <= 2
    assert set(answered.values()) == {1} and len(answered) == 120 - labels.count("undetermined")


def test_an_endpoint_that_dies_for_good_is_an_error_and_not_a_verdict(server: play.Server, make_client: Make) -> None:
    oracle = play.llm(make_client(max_retries=1))
    oracle.check()
    server.usual = play.status(500)
    with pytest.raises(OracleError, match="resume"):
        oracle.judge([play.response("q", "a")])


@pytest.mark.parametrize(
    "refusal",
    [
        play.text(None, refusal="I can't"),
        play.text("", "content_filter"),
        lambda handler, _: handler.send(b'{"error": {"code": "content_filter", "message": "filtered"}}', 400),
    ],
)
def test_a_content_filter_is_a_refusal_and_not_tried_again(
    refusal: play.Play, server: play.Server, make_client: Make
) -> None:
    server.usual = refusal
    (reply,) = make_client().complete([ask("a")])
    assert reply.refused and reply.error is None and len(server.requests) == 1


def test_what_the_endpoint_does_not_know_is_left_out_and_remembered(server: play.Server, make_client: Make) -> None:
    def picky(handler: play.Handler, body: dict[str, Any]) -> None:
        if "max_tokens" in body:
            play.status(400, "Unsupported parameter: use 'max_completion_tokens' instead")(handler, body)
        elif "temperature" in body:
            play.status(400, "'temperature' is not supported with this model")(handler, body)
        elif "response_format" in body:
            play.status(422, "extra fields not permitted")(handler, body)
        else:
            play.text("fine")(handler, body)

    server.usual = picky
    client = make_client(concurrency=1)
    replies = client.complete([ask("a", schema={"type": "object"}), ask("b", schema={"type": "object"})])
    assert [reply.text for reply in replies] == ["fine", "fine"]
    assert len(server.probes) == 6, "two parameters and three forms are refused"
    assert [sorted(body) for body in server.requests] == [["max_completion_tokens", "messages", "model"]] * 2


def test_a_request_that_the_endpoint_rejects_is_an_error_of_its_own(server: play.Server, make_client: Make) -> None:
    server.usual = play.met(play.status(400, "This model's maximum context length is 8192 tokens"))
    (reply,) = make_client().complete([ask("a", schema={"type": "object"})])
    assert reply.error and not reply.unreachable and len(server.requests) == 1


def test_order_is_kept_and_equal_requests_are_sent_once(server: play.Server, make_client: Make) -> None:
    def echo(handler: play.Handler, body: dict[str, Any]) -> None:
        time.sleep(random.random() / 50)
        play.text(body["messages"][0]["content"])(handler, body)

    server.usual = echo
    seen: list[int] = []
    texts = [f"{n % 20}" for n in range(40)]
    replies = make_client().complete([ask(text) for text in texts], on_reply=lambda index, _: seen.append(index))
    assert [reply.text for reply in replies] == texts
    assert sorted(seen) == list(range(40)) and len(server.requests) == 20


def test_a_lone_surrogate_can_be_asked_about(server: play.Server, make_client: Make) -> None:
    (reply,) = make_client().complete([ask("half an emoji: \ud83d")])
    assert reply.error is None
