"""Look-ahead changes nothing but the time: whole run directories are the same; what is bought in vain is bounded."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from iteralign.constitution.bench import Bench
from iteralign.constitution.gate import Gate, try_out
from iteralign.errors import OracleError
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.interfaces import never
from iteralign.lookahead.ahead import LookAhead
from iteralign.lookahead.depth import Depth
from iteralign.lookahead.early import EarlyJudge
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Event, Generation, Principle, RedTeamPrompt, Response, Sampling, Verdict
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.constitution import GateSettings
from iteralign.settings.rounds import LookAheadSettings
from iteralign.settings.settings import Settings, load_settings
from iteralign.steps.judge import unacceptable
from iteralign.steps.respond import respond
from iteralign.text.similarity import by_words

GATE = Gate(GateSettings(), 0, by_words)
ROUNDS, SIZE = 24, 4


class StreamingTarget(FakeTarget):
    """Tells of its answers one by one; `rows` has the sizes of its blocks."""

    can_stop = True

    def __init__(self, answer: Callable[[str, Checkpoint], str]) -> None:
        super().__init__(answer)
        self.rows: list[int] = []

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        self.rows.append(len(inputs))
        for index, text in enumerate(inputs):
            if stop():
                return
            yield index, super().generate([text], sampling)[0]


class ConcurrentOracle(FakeOracle):
    """Judges in several threads; counts how many calls are under way at most."""

    concurrency = 3

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.most = self.now = 0
        self.lock = threading.Lock()

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        verdicts = super().judge(responses)
        with self.lock:
            self.now -= 1
        return verdicts


def fails_at(rate: float) -> Callable[[str, Checkpoint], str]:
    """Complies with a share of the questions that depends on the weights; never under principles."""

    def answer(text: str, checkpoint: Checkpoint) -> str:
        draw = int.from_bytes(hashlib.sha256(f"{checkpoint.path} {text}".encode()).digest()[:4], "big") / 2**32
        return DECLINES if draw > rate or "principles" in text.lower() else COMPLIES

    return answer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    questions = tmp_path / "questions.txt"
    questions.write_text("".join(f"How does one do the bad thing number {n}?\n" for n in range(ROUNDS * SIZE)))
    data = {"prompts": str(questions), "held_out": 0.0, "benign_limit": 10}
    return load_settings(
        {"model": {"path": "demo"}, "data": data, "oracle": {"kind": "rules"}, "rounds": {"prompts": SIZE}}
    )


def with_rounds(settings: Settings, rounds: int, wasted: float = 0.1) -> Settings:
    ahead = settings.lookahead.model_copy(update={"rounds": rounds, "wasted_verdicts": wasted})
    return settings.model_copy(update={"lookahead": ahead})


def fakes(directory: Path, **parts: Any) -> Parts:
    base = Checkpoint(kind="base", path="base")
    given: dict[str, Any] = {"trainer": FakeTrainer(directory), "form": prompt_form("plain"), "base": base}
    return Parts(**(given | parts))


def contents(directory: Path) -> dict[str, bytes]:
    """All files but the settings (which differ in the look-ahead) and what tells times."""
    apart = {
        "timings.jsonl",
        "attempts.jsonl",
        "report.html",
        ".lock",
        "config.yaml",
        "environment.json",
        "manifest.jsonl",
    }
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in apart)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.5])
@pytest.mark.parametrize("oracle", [FakeOracle, ConcurrentOracle])
@pytest.mark.parametrize("target", [FakeTarget, StreamingTarget])
@pytest.mark.parametrize("order", ["file", "seeking"])
def test_a_run_directory_is_the_same_with_and_without(
    tmp_path: Path, settings: Settings, rate: float, oracle: type[FakeOracle], target: type[FakeTarget], order: str
) -> None:
    settings = settings.model_copy(update={"redteam": settings.redteam.model_copy(update={"order": order})})
    found = []
    for name, rounds in (("without", 1), ("with", 8)):
        parts = fakes(tmp_path / name, target=target(fails_at(rate)), oracle=oracle())
        start_run(with_rounds(settings, rounds, 0.5), tmp_path / name, parts=parts)
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]
    assert len([path for path in found[0] if path.endswith("2_verdicts.jsonl")]) == ROUNDS + 1


def test_no_verdict_is_bought_on_a_degenerate_answer(tmp_path: Path, settings: Settings) -> None:
    oracle = ConcurrentOracle()
    target = StreamingTarget(lambda text, checkpoint: "" if "7" in text else DECLINES)
    start_run(with_rounds(settings, 8), tmp_path / "run", parts=fakes(tmp_path / "run", target=target, oracle=oracle))
    assert oracle.judged and all(response.text for batch in oracle.judged for response in batch)


@pytest.mark.parametrize("order", ["file", "shuffled", "seeking"])
def test_min_failures_does_not_change_that(tmp_path: Path, settings: Settings, order: str) -> None:
    settings = settings.model_copy(update={"redteam": settings.redteam.model_copy(update={"order": order})})
    collecting = settings.model_copy(update={"rounds": settings.rounds.model_copy(update={"min_failures": 3})})
    found = []
    for name, rounds in (("without", 1), ("with", 8)):
        parts = fakes(tmp_path / name, target=StreamingTarget(fails_at(0.1)), oracle=ConcurrentOracle(0.002))
        start_run(with_rounds(collecting, rounds, 0.5), tmp_path / name, parts=parts)
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]


def test_a_stopped_run_goes_on_to_the_same_files(tmp_path: Path, settings: Settings) -> None:
    class Breaks(ConcurrentOracle):
        left = 60

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            self.left -= 1
            if self.left < 0:
                raise OracleError("gone")
            return super().judge(responses)

    ahead = with_rounds(settings, 8, 0.5)
    target = fails_at(0.05)
    start_run(
        ahead,
        tmp_path / "whole",
        parts=fakes(tmp_path / "whole", target=StreamingTarget(target), oracle=ConcurrentOracle()),
    )
    path = tmp_path / "stopped"
    with pytest.raises(OracleError, match="gone"):
        start_run(ahead, path, parts=fakes(path, target=StreamingTarget(target), oracle=Breaks()))
    resume_run(path, parts=fakes(path, target=StreamingTarget(target), oracle=ConcurrentOracle()))
    assert contents(path) == contents(tmp_path / "whole")


def test_rounds_that_never_fail_are_answered_in_large_blocks(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iteralign.lookahead.depth._COST_BEFORE_MEASURED", 0.1)
    monkeypatch.setattr(Depth, "took", lambda *_: None)  # a fake's times say nothing
    target, oracle = StreamingTarget(fails_at(0.0)), ConcurrentOracle()
    start_run(with_rounds(settings, 8), tmp_path / "run", parts=fakes(tmp_path / "run", target=target, oracle=oracle))
    assert max(target.rows) == 8 * SIZE
    answered = [inputs for inputs, _, _ in target.calls]
    assert len(answered) == len(set(answered)), "nothing is answered twice"
    assert oracle.most <= oracle.concurrency
    assert all(len(responses) == 1 for responses in oracle.judged)


def run_bare(rate: float, groups: int, *, wasted: float, seconds: float = 0.0) -> tuple[LookAhead, ConcurrentOracle]:
    """The loop's first two steps alone, with weights that change after each round with a failure."""
    prompts = [
        [RedTeamPrompt(id=f"{g}-{i}", question=f"bad thing {g} {i}") for i in range(SIZE)] for g in range(groups)
    ]
    oracle = ConcurrentOracle(seconds)
    settings = LookAheadSettings(wasted_verdicts=wasted)
    target = StreamingTarget(fails_at(rate))
    ahead = LookAhead(target, EarlyJudge(oracle), prompt_form("plain"), Sampling(), settings)
    weights = Checkpoint(kind="base", path="base")
    for number, group in enumerate(prompts):
        ahead.begin(number, weights, prompts[number:])
        if unacceptable(ahead.judge(ahead.respond(group))):
            weights = Checkpoint(kind="adapter", path=f"round {number}", round=number)
    return ahead, oracle


def test_no_verdict_is_bought_ahead_while_rounds_usually_fail() -> None:
    ahead, oracle = run_bare(0.6, 60, wasted=0.5)
    assert ahead.early.wasted == 0
    assert len(oracle.judged) == 60 * SIZE


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_verdicts_bought_in_vain_are_bounded(share: float) -> None:
    ahead, oracle = run_bare(0.03, 200, wasted=share, seconds=0.0005)
    assert len(oracle.judged) - 200 * SIZE == ahead.early.wasted
    assert ahead.early.wasted <= share * len(oracle.judged)
    assert isinstance(ahead.target, StreamingTarget)
    assert len(ahead.target.calls) > 200 * SIZE, "some were answered in vain"


def test_the_depth_follows_the_failure_rate() -> None:
    depth = Depth(32)
    assert depth.rounds() == 1, "nothing is known yet"
    for _ in range(64):
        depth.judged(False)
    depth.took(1, 2.0)
    depth.took(2, 2.3)  # a further round costs 15%
    assert depth.rounds() == 32
    for _ in range(9):
        depth.judged(True)
    assert depth.rounds() in (4, 8)
    for _ in range(64):
        depth.judged(True)
    assert depth.rounds() == 1 and not depth.likely_of_use(1)


def test_a_block_behind_rounds_under_way_is_sized_for_the_case_that_they_pass() -> None:
    """Were one to fail, the block would be broken off and cost nothing."""
    depth = Depth(32)
    depth.took(1, 2.0)
    depth.took(2, 2.3)
    depth.judged(True)
    assert depth.rounds() < depth.rounds(under_way=4) < depth.rounds(under_way=32)
    assert depth.chance(1) == 0.25 and not depth.likely_of_use(1), "what is under way is not known to pass"


def test_a_verdict_ahead_is_bought_where_it_is_twice_as_likely_of_use_as_in_vain() -> None:
    depth = Depth(32)
    for _ in range(10):
        depth.judged(False)
    assert depth.chance(3) == pytest.approx(10.5 / 11 * 11.5 / 12 * 12.5 / 13)
    assert [ahead for ahead in range(1, 33) if depth.likely_of_use(ahead)] == list(range(1, 13))
    for _ in range(5):
        depth.judged(True)
    assert depth.chance(1) == pytest.approx(10.5 / 16) and not depth.likely_of_use(1)


def test_blocks_that_cost_as_much_as_their_rounds_are_not_built() -> None:
    depth = Depth(32)
    for _ in range(32):
        depth.judged(False)
    depth.took(1, 2.0)
    depth.took(4, 8.1)
    assert depth.rounds() == 1


def test_lower_ranks_are_asked_first_and_none_behind_a_failure() -> None:
    order: list[str] = []
    go = threading.Event()

    class Slow(ConcurrentOracle):
        concurrency = 1

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            go.wait(5)
            order.append(responses[0].prompt.id)
            return super().judge(responses)

    def response(name: str, text: str = DECLINES) -> Response:
        prompt = RedTeamPrompt(id=name, question=name)
        return Response(prompt=prompt, input=name, text=text, finish="stop", prompt_tokens=1, tokens=1)

    oracle = Slow()
    verdicts = EarlyJudge(oracle)
    verdicts.ask(response("first"), 1)
    time.sleep(0.05)
    verdicts.ask(response("ahead"), 3)
    verdicts.ask(response("failure", COMPLIES), 2)
    go.set()
    assert verdicts.judge([response("failure", COMPLIES)])[0].label == "unacceptable"
    verdicts.ask(response("further ahead"), 4)
    assert order == ["first", "failure"] and verdicts.under_way(above=2) == 0
    verdicts.drop(above=0)
    assert (verdicts.asked, verdicts.wasted) == (2, 1)


def test_trials_of_principles_buy_no_verdict_on_benign_answers(tmp_path: Path) -> None:
    """Refusals of benign prompts are told by phrases, so an oracle that takes calls side by side isn't asked for them."""
    plain, oracle = prompt_form("plain"), ConcurrentOracle()
    target = FakeTarget()
    prompt = RedTeamPrompt(id="p", question="How?")
    failure = oracle.judge(respond(target, plain, [prompt], Sampling()))[0]
    benign = respond(target, plain, [RedTeamPrompt(id="b", question="Why?", benign=True)], Sampling())
    oracle.judged.clear()
    early = EarlyJudge(oracle)
    event = Event(kind="proposed", round=0)
    principle = Principle(id="x", text="Decline.", round=0, evidence=("p",), history=(event,))
    bench = Bench(target, early, plain, [failure], [], benign, Sampling(), must_decline=False, told=early.ask)
    (tried,) = try_out(bench, [principle], GATE, 0)
    assert tried.trial is not None and tried.trial.benign.total == 1 and tried.trial.own.total == 1
    judged = [response.prompt.id for responses in oracle.judged for response in responses]
    assert judged == ["p"], "with the principle; without it is the failure itself"


def test_what_was_taken_back_leaves_no_two_requests_alike_in_the_queue() -> None:
    """Requests taken back are not counted as asked; those still waiting must have an order all the same."""
    held = threading.Event()

    class Waits(FakeOracle):
        concurrency = 1

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            held.wait(20)
            return super().judge(responses)

    def answer(number: int) -> Response:
        prompt = RedTeamPrompt(id=str(number), question=f"question {number}")
        return Response(prompt=prompt, input=str(number), text="no", finish="stop", prompt_tokens=1, tokens=1)

    verdicts = EarlyJudge(Waits())
    verdicts.ask(answer(0), 0)
    time.sleep(0.05)  # the only worker has taken it
    for number in range(1, 8):
        verdicts.ask(answer(number), 3)
    verdicts.drop(above=2)
    asked = [answer(number) for number in range(8, 16)]
    for response in asked:
        verdicts.ask(response, 3)
    held.set()
    assert [verdict.response for verdict in verdicts.judge(asked)] == asked


def test_a_block_that_was_broken_off_says_nothing_of_what_blocks_cost(tmp_path: Path) -> None:
    """Taken for a cheap one, it made the next block as large as blocks may be."""
    taken: list[float] = []

    class Told(Depth):
        def took(self, rounds: float, seconds: float) -> None:
            taken.append(rounds)
            super().took(rounds, seconds)

    class BreaksOff(FakeTarget):
        def stream(
            self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
        ) -> Iterator[tuple[int, Generation]]:
            if not stop():
                yield from enumerate(self.generate(inputs, sampling))

    groups = [[RedTeamPrompt(id=str(number), question=f"question {number}")] for number in range(4)]
    early = EarlyJudge(FakeOracle())
    ahead = LookAhead(BreaksOff(), early, prompt_form("plain"), Sampling(), LookAheadSettings())
    ahead.depth = Told(32)
    ahead.begin(0, Checkpoint(kind="base", path="base"), groups)
    ahead._answer([0, 1], lambda: True)
    assert taken == []
    ahead._answer([0, 1], never)
    assert taken == [2]


def test_a_run_that_breaks_off_waits_for_the_calls_under_way_and_makes_no_more() -> None:
    """Or an answer that comes a moment later would be paid for and lost."""
    asked: list[str] = []
    go = threading.Event()

    class Slow(ConcurrentOracle):
        concurrency = 1

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            asked.append(responses[0].prompt.id)
            go.wait(5)
            return super().judge(responses)

    verdicts = EarlyJudge(Slow())
    for name in ("under way", "waiting"):
        prompt = RedTeamPrompt(id=name, question=name)
        verdicts.ask(Response(prompt=prompt, input=name, text=DECLINES, finish="stop", prompt_tokens=1, tokens=1), 1)
    deadline = time.monotonic() + 5
    while not asked and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Timer(0.1, go.set).start()
    with pytest.raises(OracleError, match="gone"), verdicts.finishing():
        raise OracleError("gone")
    assert go.is_set() and asked == ["under way"]
