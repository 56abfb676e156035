"""Which prompts a round asks: each once, with the probability that is recorded, and the same when a run is resumed."""

import collections
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from iteralign.errors import ConfigError, OracleError
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.integrity.counts import contradictions
from iteralign.integrity.verify import verify_run
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Draw, Label, RedTeamPrompt, Response, Verdict
from iteralign.redteam.chances import Chances, Weighing
from iteralign.redteam.orders import FileOrder, Order, Seeking, Shuffled, groups_of
from iteralign.redteam.pool import PromptPool, stems
from iteralign.rundir.reader import read_run
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.scoreboard.metrics import final
from iteralign.settings.redteam import RedTeamSettings
from iteralign.settings.settings import Settings, load_settings

BASE = Checkpoint(kind="base", path="base")
SETTINGS = RedTeamSettings(order="seeking")
SIZE = 4


def prompts(count: int = 40) -> list[RedTeamPrompt]:
    """Half of them of one kind, about locks; the others about bread."""
    texts = ("open the lock of door {}", "bake the bread of day {}")
    return [
        RedTeamPrompt(id=f"p{n}", question=texts[n % 2].format(n), category=("locks", "bread")[n % 2])
        for n in range(count)
    ]


def seeking(pool: Sequence[RedTeamPrompt], seed: int = 0, size: int = SIZE) -> Seeking:
    return Seeking(pool, size, -(-len(pool) // size), SETTINGS, seed, Weighing())


def verdicts(group: Sequence[RedTeamPrompt], label: Callable[[RedTeamPrompt], Label]) -> list[Verdict]:
    return [
        Verdict(
            response=Response(prompt=one, input="", text="", finish="stop", prompt_tokens=1, tokens=1), label=label(one)
        )
        for one in group
    ]


def passes(prompt: RedTeamPrompt) -> Label:
    return "acceptable"


def locks_fail(prompt: RedTeamPrompt) -> Label:
    return "unacceptable" if prompt.category == "locks" else "acceptable"


class Kept:
    """Keeps a round's draws in memory."""

    def __init__(self) -> None:
        self.draws: list[list[Draw]] = []

    def __call__(self, stage: str, step: Callable[[], list[Draw]]) -> list[Draw]:
        assert stage == "0_draws"
        self.draws.append(step())
        return self.draws[-1]


def carried_through(order: Order, label: Callable[[RedTeamPrompt], Label]) -> list[list[Draw]]:
    kept = Kept()
    for number in range(order.rounds):
        group = order.coming(number, BASE, kept)[0]
        order.judged(verdicts(group, label))
    return kept.draws


@pytest.mark.parametrize("label", [passes, locks_fail])
@pytest.mark.parametrize("make", [lambda pool: Shuffled(pool, SIZE, 10, SETTINGS, 0), seeking])
def test_each_prompt_is_asked_once_and_its_probability_is_kept(
    make: Callable[[list[RedTeamPrompt]], Order], label: Callable[[RedTeamPrompt], Label]
) -> None:
    pool = prompts()
    rounds = carried_through(make(pool), label)
    draws = [draw for one in rounds for draw in one]
    assert [len(one) for one in rounds] == [SIZE] * 10
    assert sorted(draw.prompt.id for draw in draws) == sorted(prompt.id for prompt in pool)
    assert [draw.unasked for draw in draws] == list(range(40, 0, -1))
    assert draws[-1].probability == pytest.approx(1.0)
    least = 1.0 if isinstance(make(pool), Shuffled) else SETTINGS.explore
    assert all(draw.probability >= 0.999 * least / draw.unasked for draw in draws)


def test_the_file_s_order_is_the_file_s_and_keeps_no_draws() -> None:
    pool, kept = prompts(10), Kept()
    order = FileOrder(groups_of(pool, SIZE))
    assert order.coming(1, BASE, kept) == [pool[4:8], pool[8:]] and kept.draws == []


def test_shuffled_takes_a_limited_run_s_prompts_from_all_of_them() -> None:
    pool = prompts()
    asked = {draw.prompt.id for one in carried_through(Shuffled(pool, SIZE, 3, SETTINGS, 0), passes) for draw in one}
    assert len(asked) == 12 and asked != {prompt.id for prompt in pool[:12]}


def test_prompts_are_drawn_as_often_as_the_probability_says() -> None:
    pool = prompts(8)
    expected: collections.Counter[str] = collections.Counter()
    drawn: collections.Counter[str] = collections.Counter()
    for seed in range(3000):
        order, kept = seeking(pool, seed, size=1), Kept()
        order._unasked[:2] = False
        order.chances.judged(0, True)  # locks fail, bread does not
        order.chances.judged(1, False)
        order.coming(0, BASE, kept)
        drawn[kept.draws[0][0].prompt.id] += 1
        expected[kept.draws[0][0].prompt.id] = round(3000 * kept.draws[0][0].probability)
    assert sum(expected.values()) == pytest.approx(3000, abs=5), "the probabilities of all unasked prompts add up to 1"
    assert all(abs(drawn[name] - expected[name]) < 4 * expected[name] ** 0.5 for name in expected)
    assert min(drawn[name] for name in ("p2", "p4", "p6")) > 1.5 * max(drawn[name] for name in ("p3", "p5", "p7"))


def test_after_failures_it_asks_what_is_like_them() -> None:
    rounds = carried_through(seeking(prompts(80)), locks_fail)
    late = [draw.prompt.category for one in rounds[2:8] for draw in one]
    assert late.count("locks") > 2 * late.count("bread")


def test_likeness_goes_by_words_and_their_beginnings() -> None:
    texts = ("Stealing a bicycle", "steals bicycles", "grow tomatoes in spring", "???")
    pool = PromptPool([RedTeamPrompt(id=str(n), question=text) for n, text in enumerate(texts)])
    likeness = pool.likeness(0)
    assert likeness[0] == 1 and likeness[1] > 0.3 and likeness[2] == likeness[3] == 0
    assert list(pool.likeness(3)) == [0, 0, 0, 1], "a prompt without a word is like itself alone"
    assert stems("偷自行车 now") == ["偷", "自", "行", "车", "now"]


def test_a_training_makes_earlier_failures_count_less() -> None:
    chances = Chances(PromptPool(prompts(10)), Weighing())
    chances.judged(0, True)
    before = chances.estimates()
    chances.trained()
    after = chances.estimates()
    assert after[2] < before[2]


def test_an_answer_that_nobody_could_judge_says_nothing_and_is_not_asked_again() -> None:
    order, kept = seeking(prompts()), Kept()
    before = order.chances.estimates()
    group = order.coming(0, BASE, kept)[0]
    order.judged(verdicts(group, lambda prompt: "undetermined"))
    assert list(order.chances.estimates()) == list(before)
    assert set(draw.prompt.id for one in carried_through(order, passes) for draw in one).isdisjoint(
        prompt.id for prompt in group
    )


def test_while_rounds_pass_several_are_drawn_at_once_and_a_failure_draws_anew() -> None:
    order, kept = seeking(prompts(400)), Kept()
    sizes, coming = [], order.coming(0, BASE, kept)
    for number in range(1, 40):
        order.judged(verdicts(coming[0], passes))
        known, coming = coming, order.coming(number, BASE, kept)
        sizes.append(len(coming))
        if len(known) > 1:
            assert coming[0] == known[1]
    assert max(sizes) >= 8
    known = order.coming(40, BASE, kept) if len(coming) == 1 else coming
    order.judged(verdicts(known[0], lambda prompt: "unacceptable"))
    assert order.coming(41, BASE, kept)[0] not in known


# Whole runs.


@pytest.fixture(params=["shuffled", "seeking"])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    questions = tmp_path / "questions.txt"
    questions.write_text("".join(f"{prompt.question}?\n" for prompt in prompts(60)))
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": str(questions), "held_out": 0.0, "benign_limit": 10},
        "oracle": {"kind": "rules"},
        "rounds": {"prompts": SIZE},
        "redteam": {"order": request.param},
    }
    return load_settings(values)


def locks_until_trained(text: str, checkpoint: Checkpoint) -> str:
    return COMPLIES if "lock" in text and checkpoint.round is None and "principles" not in text.lower() else DECLINES


def parts(directory: Path, oracle: FakeOracle | None = None) -> Parts:
    made = FakeTarget(locks_until_trained), oracle or FakeOracle(), FakeTrainer(directory)
    return Parts(*made, prompt_form("plain"), BASE)


def rounds_of(directory: Path) -> dict[str, bytes]:
    found = sorted((directory / "rounds").rglob("*.json*"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


class Breaks(FakeOracle):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        self.left -= 1
        if self.left < 0:
            raise OracleError("gone")
        return super().judge(responses)


@pytest.mark.parametrize("calls", [2, 5, 9, 14])
def test_a_stopped_run_goes_on_to_the_same_files(tmp_path: Path, settings: Settings, calls: int) -> None:
    start_run(settings, tmp_path / "whole", parts=parts(tmp_path / "whole"))
    path = tmp_path / "stopped"
    with pytest.raises(OracleError, match="gone"):
        start_run(settings, path, parts=parts(path, Breaks(calls)))
    resume_run(path, parts=parts(path))
    assert rounds_of(path) == rounds_of(tmp_path / "whole")
    assert len([name for name in rounds_of(path) if name.endswith("0_draws.jsonl")]) == 15
    assert verify_run(path).good


def test_the_files_say_which_prompts_were_drawn(tmp_path: Path, settings: Settings) -> None:
    start_run(settings, tmp_path / "run", parts=parts(tmp_path / "run"))
    run = read_run(tmp_path / "run")
    for one in run.rounds():
        assert [draw.prompt for draw in one.draws()] == [response.prompt for response in one.responses()]
    first, second = (run.path / f"rounds/000{n}/0_draws.jsonl" for n in (0, 1))
    assert list(contradictions(run.path)) == []
    first.write_bytes(second.read_bytes())
    assert any("other prompts" in fault.what for fault in contradictions(run.path))


def test_a_run_ends_when_it_is_sure_that_few_of_the_rest_would_fail(tmp_path: Path, settings: Settings) -> None:
    ends = settings.model_copy(update={"redteam": settings.redteam.model_copy(update={"stop": 0.4})})
    outcome = start_run(ends, tmp_path / "run", parts=parts(tmp_path / "run"))
    last = outcome.metrics[-1]
    assert 2 < last.round < 14 and last.failures == 0
    assert last.stopped is not None and "fewer than 40 of 100 prompts not asked yet would fail (95%" in last.stopped
    assert final(outcome.metrics).measured == last.weights, "what is in use at the end is measured, wherever that comes"
    again = tmp_path / "again"
    with pytest.raises(OracleError, match="gone"):
        start_run(ends, again, parts=parts(again, Breaks(4)))
    resume_run(again, parts=parts(again))
    assert rounds_of(again) == rounds_of(tmp_path / "run")


def test_what_was_not_drawn_by_chance_can_t_end_a_run() -> None:
    values = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}
    with pytest.raises(ConfigError, match=r"redteam.*the first of a file say nothing of the rest"):
        load_settings(values, ["redteam.stop=0.1"])
