"""A judge none of whose replies can be read stops a run, which goes on when that is mended; a few are warned of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from iteralign.errors import JudgeUnreadable
from iteralign.interfaces import Judge
from iteralign.oracles.asking import _read
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.chat import Reply
from iteralign.oracles.client import ChatClient
from iteralign.oracles.guards import GuardJudge, JudgeAndProposer, Panel
from iteralign.oracles.guards.families import family
from iteralign.oracles.guards.judge import ask_server, forget_asked
from iteralign.oracles.reading import Unreadable, read_judgement
from iteralign.records import Response, Verdict
from iteralign.rundir.jsonl import read_records
from iteralign.settings.settings import CHANGEABLE, Settings
from iteralign.steps.judge import is_unread, judge

from . import conftest as play
from .test_whole_run import judged_run, sensible, settings  # noqa: F401 - a fixture

Make = Callable[..., ChatClient]
ANSWERS = [play.response(f"question {number}?", f"A plain answer, number {number}.") for number in range(10)]

UNREADABLE: dict[str, play.Play] = {
    "prose": play.text("I find this answer quite acceptable."),
    "used up by thinking": play.text("", "length", reasoning_content="Hmm. " * 50),
    "cut short": play.text('{"reason": "Because', "length"),
    "declined": play.text("", "content_filter"),
    "firewall": lambda handler, body: (play.status(403, "blocked") if "plain" in str(body) else play.text("x"))(
        handler, body
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_no_readable_verdict_is_an_error_and_they_are_asked_anew(
    kind: str, server: play.Server, make_client: Make
) -> None:
    server.usual = play.met(UNREADABLE[kind])
    oracle = play.llm(make_client(cache=ReplyCache(), concurrency=1, max_retries=0))
    with pytest.raises(JudgeUnreadable, match=r"None of 8 answers.*max_tokens") as told:
        judge(oracle, ANSWERS[:8])
    assert told.value.exit_code == 6
    server.usual = play.text(play.judgement())
    assert [verdict.label for verdict in judge(oracle, ANSWERS[:8])] == ["acceptable"] * 8


def test_a_share_is_warned_of(server: play.Server, make_client: Make, caplog: pytest.LogCaptureFixture) -> None:
    def sometimes(handler: play.Handler, body: dict[str, Any]) -> None:
        bad = any(f"question {number}?" in str(body) for number in range(4))
        play.text("prose" if bad else play.judgement())(handler, body)

    server.usual = sometimes
    assert sum(map(is_unread, judge(play.llm(make_client()), ANSWERS))) == 4
    assert "4 of 10 answers got no verdict that could be read" in caplog.text
    caplog.clear()
    judge(play.llm(make_client()), ANSWERS[3:])
    assert caplog.text == ""


@pytest.mark.parametrize("ballot", ["split", "contradicts"])
def test_verdicts_that_were_read_do_not_count(ballot: str, server: play.Server, make_client: Make) -> None:
    replies = iter([True, False] * 20)
    changes: dict[str, Any] = {"verdict": "unacceptable"} if ballot == "contradicts" else {}
    server.usual = lambda handler, body: play.text(
        play.judgement(True, **changes) if changes else play.judgement(next(replies))
    )(handler, body)
    oracle = play.llm(make_client(concurrency=1), votes=1 if changes else 2)
    assert {verdict.label for verdict in judge(oracle, ANSWERS[:5])} == {"undetermined"}


def test_degenerate_answers_and_two_answers_do_not_count(server: play.Server, make_client: Make) -> None:
    server.usual = play.text("prose")
    oracle = play.llm(make_client())
    assert len(judge(oracle, [play.response(f"q{number}", "") for number in range(9)])) == 9
    assert len(judge(oracle, ANSWERS[:2])) == 2


def test_every_way_to_be_unread_is_known() -> None:
    section = "oracle.judge"
    replies = [
        Reply("", "error", error="HTTP 500"),
        Reply("", "content_filter", refused=True),
        Reply("", "length"),
        Reply('{"rea', "length"),
    ]
    reasons = [_read(reply, read_judgement, section) for reply in replies]
    problem = _read(Reply("prose", "stop"), read_judgement, section)
    assert isinstance(problem, Unreadable)
    for reason in (*reasons, f"unreadable: {problem}", "the guard gave no complete reply"):
        assert is_unread(Verdict(response=ANSWERS[0], label="undetermined", reason=str(reason)))


class Never(Judge):
    """A judge that keeps nothing."""

    name: ClassVar[str] = "never"

    def judge(self, responses: Any) -> list[Verdict]:
        return [Verdict(response=one, label="undetermined", reason="no reply: never") for one in responses]


def test_an_unreadable_reply_to_a_repair_is_forgotten_too(server: play.Server, make_client: Make) -> None:
    """Of a judge that never gives JSON at first: what it says when it is asked for it once more is not read back."""
    client = make_client(cache=ReplyCache(), concurrency=1)
    server.usual = play.text("Okay.")
    with pytest.raises(JudgeUnreadable):
        judge(play.llm(client), ANSWERS[:4])
    server.usual = lambda handler, body: play.text(play.judgement() if len(body["messages"]) > 1 else "Okay.")(
        handler, body
    )
    assert [verdict.label for verdict in judge(play.llm(client), ANSWERS[:4])] == ["acceptable"] * 4


@pytest.mark.parametrize("members", [1, 2])
def test_guards_too(members: int, server: play.Server, make_client: Make) -> None:
    client = make_client(cache=ReplyCache(), concurrency=1)
    guard = GuardJudge(family("llama-guard"), ask_server(client), "g", forget_asked(client))
    judges = JudgeAndProposer(Panel([guard, Never()]) if members > 1 else guard, play.llm(client))
    server.usual = play.text("I cannot say.")
    with pytest.raises(JudgeUnreadable):
        judge(judges, ANSWERS[:4])
    server.usual = play.text("safe")
    assert [verdict.label for verdict in guard.judge(ANSWERS[:4])] == ["acceptable"] * 4


def test_a_run_stops_at_the_baseline_and_goes_on_when_the_judge_is_mended(
    settings: Settings,  # noqa: F811
    server: play.Server,
    make_client: Make,
    tmp_path: Path,
) -> None:
    server.usual = play.met(play.text("Okay."))
    with pytest.raises(JudgeUnreadable, match="resume"):
        judged_run(settings, tmp_path / "run", make_client(cache=ReplyCache()))
    asked = len(server.requests)
    assert 0 < asked <= 2 * 20 + 2, "no round is paid for"
    server.usual = sensible
    done = judged_run(settings, tmp_path / "run", make_client(cache=ReplyCache()))
    assert any(row.failures for row in done.metrics)
    kept = [
        verdict
        for path in (tmp_path / "run").rglob("*.jsonl")
        if path.stem in ("2_verdicts", "7_held_out", "8_benign")
        for verdict in read_records(path, Verdict)
    ]
    assert kept and not any(map(is_unread, kept))


def test_what_mends_a_judge_may_be_changed_on_resume() -> None:
    assert {"oracle.judge.max_tokens", "oracle.judge.reasoning_effort", "oracle.judge.api_key_env"} <= set(CHANGEABLE)


def test_more_room_is_another_request(server: play.Server, make_client: Make) -> None:
    """What was cut off is asked again with more tokens, whatever the cache has."""

    def needs_room(handler: play.Handler, body: dict[str, Any]) -> None:
        enough = body.get("max_tokens", 0) >= 2048
        (play.text(play.judgement()) if enough else play.text("", "length"))(handler, body)

    server.usual = needs_room
    one: list[Response] = ANSWERS[:1]
    for tokens, label in ((1024, "undetermined"), (2048, "acceptable")):
        (verdict,) = judge(play.llm(make_client(cache=ReplyCache(), max_tokens=tokens)), one)
        assert verdict.label == label, json.dumps(verdict.model_dump(mode="json"))
