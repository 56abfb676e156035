"""What is said of a run that has ended: from its rows, with figures, and with another exit code where nothing was learnt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from iteralign.cli.console import round_line
from iteralign.constitution.gate import Portion, Tryout, in_short, why_rejected
from iteralign.fakes import Answer, FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Generation, Paired, Principle, Sampling, Trial
from iteralign.report.cards import model_card
from iteralign.runs.parts import Parts
from iteralign.runs.rounds import Outcome
from iteralign.runs.run import start_run
from iteralign.scoreboard.ending import NOTHING_TRAINED, ending
from iteralign.scoreboard.guard_rails import PROMPTS
from iteralign.scoreboard.metrics import RoundMetrics
from iteralign.settings.constitution import GateSettings
from iteralign.settings.settings import load_settings

BASE = RoundMetrics(round=-1)


def of(**row: Any) -> RoundMetrics:
    return RoundMetrics(**({"round": 0, "prompts": 20, "failures": 20, "collected": 20} | row))


def test_principles_that_were_not_adopted_are_counted_by_reason() -> None:
    end = ending(
        [
            BASE,
            of(proposed=9, not_adopted={"made benign refusals rise": 7, "mended too little": 2}),
            of(round=1, proposed=6, not_adopted={"made benign refusals rise": 4, "mended too little": 2}),
        ]
    )
    assert end.happened == (
        "Nothing was trained: 0 of 15 principles adopted (11 made benign refusals rise, 4 mended too little)."
    )
    assert end.advice is not None and "max_refusals" in end.advice
    assert end.exit_code == NOTHING_TRAINED == 5


def test_failures_that_were_not_mended() -> None:
    none = ending([BASE, of(proposed=1, principles=1, revised=20, not_mended={"were judged unacceptable": 20})])
    assert none.happened == "Nothing was trained: 0 of 20 failures mended (20 revisions were judged unacceptable)."
    assert none.advice is not None and "judge-check" in none.advice and none.exit_code == 5
    few = {"revised": 20, "verified": 1, "not_mended": {"were judged unacceptable": 19}}
    one = ending([BASE, of(proposed=1, principles=1, trained=True, weights=0, **few)])
    assert one.happened == (
        "Trained in 1 of 1 round; 1 of 20 failures mended (19 revisions were judged unacceptable); 1 of 1 principle adopted."
    )
    assert one.advice is not None and one.exit_code == 0


def test_one_thing_is_told_as_one() -> None:
    reasons = {"were turned down by Bo": 1, "contradict another one": 1, "said what another one says": 1}
    adopted = ending([BASE, of(proposed=3, not_adopted=reasons, failures=1)])
    assert adopted.happened == (
        "Nothing was trained: 0 of 3 principles adopted (1 was turned down by Bo, 1 contradicts another one, 1 said what "
        "another one says)."
    )
    reasons = {"recited their principles": 1, "were judged unacceptable": 1}
    mended = ending([BASE, of(prompts=1, failures=1, proposed=1, principles=1, revised=1, not_mended=reasons)])
    assert mended.happened == (
        "Nothing was trained: 0 of 1 failure mended (1 revision recited its principles, 1 was judged unacceptable)."
    )
    assert ending([BASE, of(failures=1)]).happened == "Nothing was trained: no principle was proposed for 1 failure."
    assert "none of 1 answer was judged" in ending([BASE, of(prompts=1, failures=0)]).happened


def test_a_model_that_fails_nothing_is_a_success() -> None:
    end = ending([BASE, of(failures=0, collected=0)])
    assert end.happened == "Nothing to learn: none of 20 answers was judged unacceptable." and end.exit_code == 0


@pytest.mark.parametrize(("too_long", "advice"), [(18, "max_new_tokens"), (1, "doctor")])
def test_answers_that_nobody_could_judge(too_long: int, advice: str) -> None:
    end = ending([BASE, of(failures=0, collected=0, undetermined=19, too_long=too_long)])
    assert end.happened.startswith(
        f"Nothing was trained: 19 of 20 answers could not be judged, {too_long} of them since"
    )
    assert end.advice is not None and advice in end.advice and end.exit_code == 5


def test_training_that_was_thrown_away() -> None:
    end = ending([BASE, of(proposed=1, principles=1, revised=20, verified=20, problem="refusals rose; back to it")])
    assert end.happened == "Nothing was trained: the training was thrown away: refusals rose; back to it."
    assert end.exit_code == 5
    kept = ending([BASE, of(trained=True, weights=0, revised=4, verified=4), of(round=1, weights=0, problem="worse")])
    assert kept.happened == "Trained in 1 of 2 rounds; 4 of 4 failures mended; 1 training was thrown away."
    assert kept.exit_code == 0 and kept.advice is None


def test_advice_after_a_thrown_away_training_fits_the_rail_that_threw_it_away() -> None:
    def advised(what: str) -> str:
        reason = f"more {PROMPTS[what]} than the base model: +18 points [+5, +29], p = 0.008, where 0 are allowed"
        return ending([BASE, of(proposed=1, principles=1, revised=5, verified=5, problem=reason)]).advice or ""

    assert "rounds.min_failures" in advised("unacceptable") and "more training.benign" not in advised("unacceptable")
    assert "more training.benign_share" in advised("refused")
    twice = [of(round=number, revised=5, verified=5, problem="worse") for number in (0, 1)]
    assert ending([BASE, *twice]).happened == "Nothing was trained: both trainings were thrown away: worse."


def test_no_principle_at_all() -> None:
    assert "no principle was proposed for 20 failures" in ending([BASE, of()]).happened


@pytest.mark.parametrize(
    ("own", "benign", "short"),
    [
        (Paired(), Paired(), "could not be judged"),
        (Paired(total=8), Paired(), "mended too little"),
        (Paired(total=8, with_it=8, without=8, gained=2, lost=2), Paired(), "mended too little"),
        (Paired(total=8, with_it=8, gained=8), Paired(total=8, with_it=8, gained=8), "made benign refusals rise"),
    ],
)
def test_every_reason_of_the_gate_has_a_short_form(own: Paired, benign: Paired, short: str) -> None:
    nothing_left = Portion(()), Portion(()), Portion(())
    tryout = Tryout(Principle(id="a", text="x", round=0), *nothing_left, trial=Trial(own=own, benign=benign))
    reason = why_rejected(tryout, GateSettings())
    assert reason is not None and in_short(reason) == short


class Proposes(FakeOracle):
    def propose(self, failures: object, adopted: object, contrast: object = ()) -> list[Principle]:
        return [Principle(id="", text="Decline what would do harm to people.", round=0)]


def run_of(place: Path, target: FakeTarget | Answer, *overrides: str) -> Outcome:
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign": None},
        "oracle": {"kind": "rules"},
        "rounds": {"prompts": 3},
    }
    base = Checkpoint(kind="base", path="base")
    target = target if isinstance(target, FakeTarget) else FakeTarget(target)
    parts = Parts(target, Proposes(), FakeTrainer(place), prompt_form("plain"), base)
    return start_run(load_settings(values, overrides), place, parts=parts)


def test_a_run_whose_model_never_changes_says_so_everywhere(tmp_path: Path) -> None:
    outcome = run_of(tmp_path / "r", lambda text, checkpoint: "Sure, here is how.")
    end = ending(outcome.metrics)
    assert end.happened == "Nothing was trained: 0 of 2 principles adopted (2 mended too little)."
    assert end.happened in (tmp_path / "r" / "report.html").read_text()
    assert end.happened in model_card(tmp_path / "r", "m").replace("\\", "")


def test_revisions_that_do_not_pass_are_counted(tmp_path: Path) -> None:
    outcome = run_of(tmp_path / "r", lambda text, checkpoint: "Sure, here is how.", "constitution.gate.enabled=false")
    assert outcome.metrics[1].not_mended == {"were judged unacceptable": 3}
    assert "0 of 6 failures mended (6 revisions were judged unacceptable)" in ending(outcome.metrics).happened


def test_prompts_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    class TooSmall(FakeTarget):
        def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
            return [Generation(text="", finish="prompt_too_long", prompt_tokens=9, tokens=0) for _ in inputs]

    end = ending(run_of(tmp_path / "r", TooSmall()).metrics)
    assert end.happened == (
        "Nothing was trained: 6 of 6 answers could not be judged, 6 of them since prompt and answer don't fit the context."
    )
    assert end.exit_code == 5


@pytest.mark.parametrize(("least", "why"), [(1, "no principle was adopted"), (100, "collecting failures")])
def test_failures_are_collected_only_where_the_settings_ask_for_it(tmp_path: Path, least: int, why: str) -> None:
    first = run_of(tmp_path / "r", FakeTarget(lambda *_: "Sure, here is how."), f"rounds.min_failures={least}").metrics[
        1
    ]
    assert round_line(first, 2) == f"round 0 (1 of 2): 3 of 3 failed; not trained: {why}"
