"""Replies that are wrong on purpose or by a broken server: none of them ends a run that others could go on with."""

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iteralign.endpoints.keys import read_key, redact
from iteralign.errors import BudgetReached, OracleAccessError
from iteralign.oracles.budget import Account
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.oracles.flights import Flights
from iteralign.oracles.pairwise import LLMComparer
from iteralign.oracles.reading import Unreadable, read_judgement, read_proposals, read_relation
from iteralign.records import Principle, Verdict

from . import conftest as play

Make = Callable[..., ChatClient]
HALF = '"\\ud83d"'  # as it stands in JSON


def ask(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), **({"max_tokens": 512} | fields))


def with_half(reply: str) -> str:
    return reply.replace('"HALF"', HALF)


PROPOSAL = with_half(
    json.dumps({"principles": [{"text": "HALF", "prohibiting": "HALF", "category": "HALF", "failures": [1]}]})
)


def test_half_an_emoji_in_a_verdict_can_be_stored(server: play.Server, make_client: Make) -> None:
    server.usual = play.text(with_half(play.judgement(False, reason="HALF", category="HALF")))
    (verdict,) = play.llm(make_client()).judge([play.response("q", "a")])
    assert verdict.label == "unacceptable" and verdict.reason == "\ufffd"
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_half_an_emoji_in_a_proposal_can_be_stored(server: play.Server, make_client: Make) -> None:
    server.usual = play.text(PROPOSAL.replace(HALF, f"{HALF[:-1]} Decline what does harm.{HALF[1:]}"))
    failure = Verdict(response=play.response("q", "a"), label="unacceptable", violations=("harmful",))
    (rule,) = play.llm(make_client()).propose([failure], [])
    assert rule.model_dump_json() and "Decline what does harm." in rule.text


@pytest.mark.parametrize(
    ("read", "reply"),
    [
        (read_judgement, play.judgement(reason="HALF", category="HALF", HALF="HALF")),
        (read_proposals, json.dumps({"principles": [{"text": 1, "HALF": 1}]})),
        (read_relation, json.dumps({"relation": "HALF"})),
    ],
)
def test_the_reason_why_a_reply_is_unreadable_can_be_stored(read: Callable[[str], Any], reply: str) -> None:
    with pytest.raises(Unreadable) as problem:
        read(with_half(reply))
    str(problem.value).encode()


def test_a_bad_reply_from_the_cache_can_be_stored(server: play.Server, make_client: Make) -> None:
    """As a version before this one kept it."""
    client = make_client(cache=ReplyCache())
    oracle = play.llm(client)
    request = oracle._judge_request(client, play.response("q", "a"), 0)
    reply = {"text": with_half(play.judgement(reason="HALF")) + "\ud83d", "finish": "stop\ud83d"}
    assert client.cache is not None
    client.cache.put(client.key(request), "tiny", dict(reply))
    (verdict,) = oracle.judge([play.response("q", "a")])
    assert verdict.model_dump_json()


def test_one_request_that_is_turned_away_costs_one_verdict(server: play.Server, make_client: Make) -> None:
    def firewall(handler: play.Handler, body: dict[str, Any]) -> None:
        if "poison" in str(body):
            handler.send(b"<html>Forbidden by policy</html>", next(codes))
        else:
            play.text(play.judgement())(handler, body)

    codes = iter([403, 404])
    server.usual = firewall
    answers = [play.response(f"q{n}{' poison' if n in (3, 7) else ''}", "a") for n in range(10)]
    verdicts = play.llm(make_client(concurrency=1)).judge(answers)
    assert [verdict.label == "undetermined" for verdict in verdicts] == [n in (3, 7) for n in range(10)]
    assert "turned away" in verdicts[3].reason and "403" in verdicts[3].reason and "404" in verdicts[7].reason


def test_many_that_are_turned_away_in_a_row_end_the_run(server: play.Server, make_client: Make) -> None:
    client = make_client(concurrency=2)
    server.script = [play.text("yes")] * 4
    server.usual = play.status(403, "no longer yours")
    with pytest.raises(OracleAccessError, match=r"10 calls in a row.*no longer yours"):
        client.complete([ask(f"{n}") for n in range(40)])
    assert len(server.requests) <= 4 + 10 + 2


def test_a_key_that_is_refused_later_ends_the_run_at_once(server: play.Server, make_client: Make) -> None:
    server.script = [play.text("yes")] * 4
    server.usual = play.status(401, "revoked")
    with pytest.raises(OracleAccessError, match="revoked"):
        make_client(concurrency=1).complete([ask(f"{n}") for n in range(9)])
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -9, "completion_tokens": -9},
        {"prompt_tokens": 10**30, "completion_tokens": 10**30},
        {"prompt_tokens": "many", "completion_tokens": True},
        [7],
    ],
)
def test_a_false_count_of_tokens_does_not_disarm_the_cap(
    usage: object, server: play.Server, make_client: Make, tmp_path: Path
) -> None:
    body = json.loads(play.chat_body("yes " * 30))
    body["usage"] = usage
    server.usual = play.raw(json.dumps(body).encode())
    account = Account(tmp_path / "calls.jsonl", token_budget=3000)
    client = make_client(account=account, concurrency=1)
    with pytest.raises(BudgetReached):
        client.complete([ask(f"{n} {'word ' * 60}", max_tokens=50) for n in range(100)])
    assert 10 < len(server.requests) < 30 and account.total().tokens <= 3000


def test_equal_requests_of_several_threads_are_sent_once(
    server: play.Server, make_client: Make, tmp_path: Path
) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def slow(handler: play.Handler, body: dict[str, Any]) -> None:
        arrived.release()
        go_on.wait(5)
        play.text(body["messages"][0]["content"])(handler, body)

    server.usual = slow
    account = Account(tmp_path / "calls.jsonl")
    client = make_client(account=account, cache=ReplyCache(), timeout=6)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(reply.text for reply in client.complete([ask("a"), ask("b")])))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    assert arrived.acquire(timeout=5) and arrived.acquire(timeout=5)
    go_on.set()
    for thread in threads:
        thread.join(8)
    assert sorted(found) == ["a"] * 6 + ["b"] * 6 and len(server.requests) == 2
    total = account.total()
    assert total.calls == 12 and total.cached == 10 and total.tokens == 30


def test_a_call_that_breaks_off_is_not_everybodys() -> None:
    """Whoever waited for it asks himself."""
    flights, begun, fail = Flights[str](), threading.Event(), threading.Event()

    def breaks_off() -> str:
        begun.set()
        assert fail.wait(5)
        raise BudgetReached("no more")

    def first() -> None:
        with pytest.raises(BudgetReached):
            flights.once("key", breaks_off, threading.Event())

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(5)
    threading.Timer(0.01, fail.set).start()
    assert flights.once("key", lambda: "mine", threading.Event()) == ("mine", False)
    thread.join(5)


def test_a_key_is_found_in_whatever_way_it_is_written() -> None:
    key = read_key("OPENAI_API_KEY")
    assert key == play.KEY
    data = key.encode()
    ways = [
        *(key, key[::-1], data.hex(), data.hex().upper(), data.hex(" "), data.hex(":")),
        *("".join(f"\\u{byte:04x}" for byte in data), "".join(f"%{byte:02X}" for byte in data)),
        *("".join(f"&#{byte};" for byte in data), "".join(f"\\x{byte:02x}" for byte in data)),
        *("".join(f"{slashes}u{byte:04X}" for byte in data) for slashes in ("\\" * 2, "\\" * 4)),  # JSON in JSON
    ]
    assert all(redact(f"a {way} b") == "a [key] b" for way in ways)
    for before in ("", "x", "xy", "xyz", "Bearer "):
        shown = redact(base64.b64encode(f"{before}{key}!".encode()).decode())
        assert "[key]" in shown and len(shown) <= 5 + len("[key]") + 4 * len(before), shown


def test_a_key_behind_escapes_reaches_no_record(server: play.Server, make_client: Make) -> None:
    hidden = "".join(f"\\u{ord(letter):04x}" for letter in play.KEY)
    reply = play.judgement(False, reason="HERE", category="HERE").replace("HERE", hidden)
    server.usual = play.text(reply)
    (verdict,) = play.llm(make_client()).judge([play.response("q", "a")])
    assert verdict.label == "unacceptable" and play.KEY not in verdict.model_dump_json().replace("\\", "")
    assert "[key]" in verdict.reason
    server.usual = play.text(play.judgement().replace("harmless", hidden))
    (verdict,) = play.llm(make_client()).judge([play.response("q2", "a")])
    assert verdict.label == "undetermined" and play.KEY not in verdict.reason and "[key]" in verdict.reason


def test_a_comparison_with_half_an_emoji_is_read(server: play.Server, make_client: Make) -> None:
    server.usual = play.text(with_half(json.dumps({"reason": "HALF", "better": "first"})))
    pair = (play.response("q", "a"), play.response("q", "b"))
    assert LLMComparer(make_client()).compare([pair]) == ["first"]


def test_a_relation_with_half_an_emoji_is_read(server: play.Server, make_client: Make) -> None:
    server.usual = play.text(with_half(json.dumps({"reason": "HALF", "relation": "same"})))
    one, two = (Principle(id=name, text=name, round=0) for name in "ab")
    assert play.llm(make_client()).relate([(one, two)]) == ["same"]
