"""Whole runs on fakes whose target goes wrong after some round: what the guard rails do, and that resuming repeats it."""

import io
import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from iteralign.cli.console import print_outcome, round_line
from iteralign.cli.status import print_status
from iteralign.errors import TrainingDiverged
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, RedTeamPrompt, Response
from iteralign.report.status import read_status
from iteralign.runs.parts import Parts
from iteralign.runs.progress import Silent
from iteralign.runs.rounds import Outcome
from iteralign.runs.run import resume_run, start_run
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.settings.settings import Settings, load_settings

HELPS = "Here is a long and friendly answer number"


class Scripted(FakeTarget):
    """Answers by the round that trained its weights: benign questions as `benign` says of that round, a share of the
    held-out ones badly as `held_out` says from that round on, and all others badly, so that every round trains."""

    can_score = True

    def __init__(
        self, benign: dict[int, str], held_out: dict[int, float], losses: dict[int, float] | None = None
    ) -> None:
        super().__init__(self.by_round)
        self.benign, self.held_out, self.losses = benign, held_out, losses or {}

    def by_round(self, text: str, checkpoint: Checkpoint) -> str:
        number = -1 if checkpoint.round is None else checkpoint.round
        word = text.split("question ")[1].split("?")[0]
        kind, index = word.split("-")
        if kind == "benign":
            return self.benign.get(number, HELPS + " {0}").format(index)
        if kind == "held":
            last = max((key for key in self.held_out if key <= number), default=None)
            return COMPLIES if int(index) < 40 * (1.0 if last is None else self.held_out[last]) else DECLINES
        return DECLINES if "follow these principles" in text.lower() else COMPLIES

    def score(self, inputs: Any, completions: Any) -> list[float]:
        number = -1 if self.checkpoint.round is None else self.checkpoint.round
        return [-self.losses.get(number, 1.0) - 0.01 * (index % 5) for index in range(len(inputs))]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("red", "benign"):
        lines = [f"A question {name}-{index}?" for index in range(24 if name == "red" else 40)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return load_settings(
        {
            "model": {"path": "demo"},
            "data": {"prompts": str(tmp_path / "red.txt"), "held_out": 0, "benign": None},
            "oracle": {"kind": "rules"},
            "rounds": {"prompts": 4},
        }
    )


@pytest.fixture(autouse=True)
def held_out_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 held-out prompts of each kind beside the 24 that are trained on."""
    from iteralign.runs import prompt_sets

    real = prompt_sets.build_prompts

    def made(settings: Settings) -> Any:
        def prompts(kind: str, benign: bool) -> list[RedTeamPrompt]:
            names = [f"{kind}-{index}" for index in range(40)]
            return [RedTeamPrompt(id=name, question=f"A question {name}?", benign=benign) for name in names]

        sets = real(settings)
        return prompt_sets.PromptSets(sets.prompts, prompts("held", False), [], prompts("benign", True), [])

    monkeypatch.setattr(prompt_sets, "build_prompts", made)


def label(response: Response) -> Any:
    return "unacceptable" if COMPLIES in response.text else "acceptable"


def parts(run: Path, target: FakeTarget) -> Parts:
    base = Checkpoint(kind="base", path="base")
    return Parts(target, FakeOracle(label), FakeTrainer(run), prompt_form("plain"), base)


def carried_out(settings: Settings, run: Path, target: FakeTarget, **rails: Any) -> Outcome:
    changed = settings.model_copy(update={"guard_rails": settings.guard_rails.model_copy(update=rails)})
    return start_run(changed, run, parts=parts(run, target))


def interventions(run: Path) -> list[dict[str, Any]]:
    path = run / "guard_rails.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows(outcome: Outcome) -> list[RoundMetrics]:
    return outcome.metrics[1:]


def test_nothing_happens_while_all_goes_well(tmp_path: Path, settings: Settings) -> None:
    outcome = carried_out(settings, tmp_path / "run", Scripted({}, {0: 0.5, 1: 0.2}))
    assert not (tmp_path / "run" / "guard_rails.jsonl").exists()
    assert len(rows(outcome)) == 6 and [row.trained for row in rows(outcome)][:2] == [True, True]


def test_more_benign_refusals_than_allowed_roll_back_to_the_best_weights(tmp_path: Path, settings: Settings) -> None:
    run = tmp_path / "run"
    target = Scripted({2: DECLINES}, {0: 0.5, 1: 0.2, 2: 0.0, 3: 0.2, 4: 0.2, 5: 0.2})
    outcome = carried_out(settings, run, target)
    (done,) = interventions(run)
    assert (done["round"], done["action"], done["back_to"]) == (2, "rollback", 1)
    assert "refusals of benign prompts" in done["reason"] and "+100.0 points" in done["reason"]
    row = rows(outcome)[2]
    assert not row.trained and row.problem == done["reason"] and (row.measured, row.weights) == (2, 1)
    start = json.loads((run / "rounds" / "0003" / "adapter" / "fake.json").read_text())["start"]
    assert start == "rounds/0001/adapter"


def test_what_was_rolled_back_is_not_replayed(tmp_path: Path, settings: Settings) -> None:
    run = tmp_path / "run"
    carried_out(settings, run, Scripted({2: DECLINES}, {0: 0.5, 1: 0.2}, {}), unacceptable=None)
    rounds = [(run / f"rounds/{number:04d}/5_examples.jsonl").read_text().splitlines() for number in range(6)]
    examples = [[json.loads(line) for line in lines] for lines in rounds]
    thrown_away = {row["prompt_id"] for row in examples[2] if row["kind"] == "revision"}
    replayed = {row["prompt_id"] for rows in examples[3:] for row in rows if row["kind"] == "replay"}
    assert thrown_away and replayed and not thrown_away & replayed


@pytest.mark.parametrize(
    ("benign", "held_out", "losses", "words"),
    [
        ({1: "the the the the the the the the the the the the the the the {0}" + " ha" * 40}, {}, {}, "degenerate"),
        ({1: ""}, {}, {}, "degenerate"),
        ({1: "Bananas are yellow."}, {}, {}, "one and the same answer"),
        ({1: "I don\u2019t know. I don\u2019t know about {0}."}, {}, {}, 'get no more than "I don\'t know"'),
        ({}, {}, {1: 2.0}, "capability check"),
        ({}, {1: 1.0}, {}, "unacceptable held-out answers than round 0"),
    ],
)
def test_each_rail_trips_and_says_why(
    tmp_path: Path, settings: Settings, benign: Any, held_out: Any, losses: Any, words: str
) -> None:
    target = Scripted(benign, {0: 0.5, 1: 0.4, 2: 0.4} | held_out, losses)
    outcome = carried_out(settings, tmp_path / "run", target)
    (done,) = interventions(tmp_path / "run")
    assert done["round"] == 1 and done["back_to"] == 0 and words in done["reason"]
    assert rows(outcome)[1].problem == done["reason"]
    assert "read them" not in round_line(rows(outcome)[1]), "of weights that are not in use"


class Dodges(Scripted):
    """Once trained, it opens its answer to every held-out question with one sentence."""

    def by_round(self, text: str, checkpoint: Checkpoint) -> str:
        if "held-" not in text:
            return super().by_round(text, checkpoint)
        number = text.split("held-")[1].split("?")[0]
        dodges = f"This is a classic example of a moral dilemma, number {number}."
        return f"{number}: {COMPLIES}" if checkpoint.round is None else dodges


def test_one_sentence_for_all_held_out_questions_is_told(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    outcome = carried_out(settings, run, Dodges({}, {}))
    base, first = outcome.metrics[0], rows(outcome)[0]
    assert base.held_out is not None and base.held_out.count == 40
    assert first.trained and first.held_out is not None and first.held_out.count == 0, "the judge finds no fault"
    assert base.cautions == [] and first.opens_alike
    assert first.same_opening is not None and (first.same_opening.count, first.same_opening.total) == (40, 40)
    assert round_line(first).endswith("40 of 40 held-out answers open alike and don't decline: read them")
    screen = io.StringIO()
    print_outcome(outcome, Console(file=screen, width=80))
    print_status(read_status(run))
    for told in (screen.getvalue(), capsys.readouterr().out):
        assert "read the answers before you believe these figures: 40 of 40 held-out answers open alike" in told
    told = (run / "report.html").read_text()
    assert "Read the answers before you believe these figures: 40 of 40 held-out answers open alike" in unescape(told)
    assert "\N{LEFT DOUBLE QUOTATION MARK}this is a classic example of\N{RIGHT DOUBLE QUOTATION MARK}" in told


def test_one_refusal_for_all_held_out_questions_is_as_it_should_be(tmp_path: Path, settings: Settings) -> None:
    outcome = carried_out(settings, tmp_path / "run", Scripted({}, {0: 0.0}))
    assert [row.cautions for row in outcome.metrics if row.cautions] == []
    told = (tmp_path / "run" / "report.html").read_text()
    assert "open with the words" not in told and "before you believe" not in told


def test_that_it_knows_nothing_more_is_told_where_no_rail_watches(tmp_path: Path, settings: Settings) -> None:
    run = tmp_path / "run"
    outcome = carried_out(settings, run, Scripted({5: "I'm not sure about {0}."}, {0: 0.0}), over_refusal=None)
    last = rows(outcome)[-1]
    told = last.benign_abstentions
    assert told is not None and (told.count, told.total) == (40, 40)
    assert round_line(last).endswith('; 40 of 40 harmless questions get no more than "I don\'t know": read them')
    page = unescape((run / "report.html").read_text())
    assert '40 of 40 harmless questions get no more than "I don\'t know"' in page
    assert "40 of 40 benign answers after training say no more than that the model does not know; of the base" in page


@pytest.mark.parametrize(
    ("rail", "target"),
    [
        ("over_refusal", Scripted({1: DECLINES}, {})),
        ("capability", Scripted({}, {}, {1: 9.0})),
        ("unacceptable", Scripted({}, {0: 0.1, 1: 1.0})),
    ],
)
def test_a_rail_that_is_off_does_nothing(tmp_path: Path, settings: Settings, rail: str, target: Scripted) -> None:
    off = {rail: None} | ({"collapse": None} if rail == "over_refusal" else {})
    carried_out(settings, tmp_path / "run", target, **off)
    assert interventions(tmp_path / "run") == []


def test_a_small_rise_in_refusals_is_allowed(tmp_path: Path, settings: Settings) -> None:
    few = Scripted({}, {})
    few.by_round_before = few.by_round  # type: ignore[attr-defined]

    def sometimes(text: str, checkpoint: Checkpoint) -> str:
        declines = checkpoint.round is not None and any(f"benign-{index}?" in text for index in range(7))
        return DECLINES if declines else few.by_round(text, checkpoint)

    few.answer = sometimes
    outcome = carried_out(settings, tmp_path / "run", few)
    risen = [item for item in rows(outcome)[0].comparisons if item.what == "benign_refusals"]
    assert risen[0].direction == 1 and risen[0].more == 7, "significant, but within what is allowed"
    assert interventions(tmp_path / "run") == []


def test_the_run_ends_when_nothing_improves(tmp_path: Path, settings: Settings) -> None:
    run = tmp_path / "run"
    outcome = carried_out(settings, run, Scripted({}, {0: 0.5, 1: 0.5, 2: 0.45, 3: 0.5}), patience=2)
    assert [row.round for row in rows(outcome)] == [0, 1, 2]
    (done,) = interventions(run)
    assert (done["round"], done["action"]) == (2, "stop") and "showed no improvement on round 0" in done["reason"]
    assert outcome.metrics[-1].stopped == done["reason"] and not (run / "rounds" / "0003").exists()
    again = resume_run(run, parts=parts(run, Scripted({}, {})))
    assert again == outcome


def test_slow_improvement_adds_up(tmp_path: Path, settings: Settings) -> None:
    """Each round is 4 of 40 better than the one before: too little to show by itself, enough after two."""
    rates = {number: 0.9 - 0.1 * number for number in range(6)}
    outcome = carried_out(settings, tmp_path / "run", Scripted({}, rates), patience=3)
    assert len(rows(outcome)) == 6 and interventions(tmp_path / "run") == []


class Stops(Exception):
    """Thrown where a run is to be stopped."""


class StopsAt(Silent):
    def __init__(self, stage: int) -> None:
        self.left = stage

    def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
        if self.left == 0:
            raise Stops
        self.left -= 1
        return super().stage(round_number, rounds, stage)


def test_a_run_with_a_rollback_and_a_stop_resumes_to_the_same_files(tmp_path: Path, settings: Settings) -> None:
    rails = settings.guard_rails.model_copy(update={"patience": 3})
    settings = settings.model_copy(update={"guard_rails": rails})

    def target() -> FakeTarget:
        return Scripted({1: DECLINES}, {0: 0.5, 2: 0.5, 3: 0.5})

    def contents(run: Path) -> dict[str, bytes]:
        apart = {"timings.jsonl", "manifest.jsonl", "attempts.jsonl", ".lock", "report.html"}
        files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in apart)
        return {str(path.relative_to(run)): path.read_bytes() for path in files}

    whole = tmp_path / "whole"
    outcome = start_run(settings, whole, parts=parts(whole, target()))
    assert [item["action"] for item in interventions(whole)] == ["rollback", "stop"]
    expected, stage = contents(whole), 0
    while True:
        run = tmp_path / f"stopped-{stage}"
        try:
            start_run(settings, run, parts=parts(run, target()), progress=StopsAt(stage))
            break
        except Stops:
            again = resume_run(run, parts=parts(run, target()))
        assert contents(run) == expected, f"stopped before stage {stage}"
        assert again.metrics == outcome.metrics and again.checkpoint == outcome.checkpoint
        stage += 1
    assert stage > 20


def test_the_last_rounds_weights_are_measured_and_guarded_also_between_measurements(
    tmp_path: Path, settings: Settings
) -> None:
    """Measured after every fourth training; the last round answers everything well, so nothing is trained in it."""
    run = tmp_path / "run"
    measure = settings.measure.model_copy(update={"every": 4})
    settings = settings.model_copy(update={"measure": measure})
    target = Scripted({4: DECLINES}, {3: 0.2, 4: 0.2})

    def answer(text: str, checkpoint: Checkpoint) -> str:
        return DECLINES if checkpoint.round == 4 and "red-" in text else target.by_round(text, checkpoint)

    target.answer = answer
    outcome = start_run(settings, run, parts=parts(run, target))
    assert [row.measured for row in outcome.metrics] == [-1, None, None, None, 3, None, 4]
    assert outcome.checkpoint.round == 3 and outcome.metrics[-1].weights == 3
    assert final(outcome.metrics).round == 3


def test_weights_that_were_measured_are_not_measured_again_at_the_end(tmp_path: Path, settings: Settings) -> None:
    """The last round takes as long as its own answers; what the run came to stands where it was measured."""
    run = tmp_path / "run"
    target = Scripted({}, {0: 0.5, 1: 0.2})

    def answer(text: str, checkpoint: Checkpoint) -> str:
        learnt = checkpoint.round is not None and checkpoint.round >= 1
        return DECLINES if learnt and "red-" in text else target.by_round(text, checkpoint)

    target.answer = answer
    outcome = start_run(settings, run, parts=parts(run, target))
    assert [row.measured for row in outcome.metrics] == [-1, 0, 1, None, None, None, None]
    assert final(outcome.metrics).round == 1 and outcome.checkpoint.round == 1


def test_a_training_that_diverges_is_told_in_its_own_row_alone(tmp_path: Path, settings: Settings) -> None:
    """Its weights, measured only at the end, carried the reason on into the last round's row."""
    run = tmp_path / "run"
    measure = settings.measure.model_copy(update={"every": 9})
    target = Scripted({}, {0: 0.2})

    def answer(text: str, checkpoint: Checkpoint) -> str:
        return DECLINES if "red-2" in text else target.by_round(text, checkpoint)

    target.answer = answer

    class DivergesOnce(FakeTrainer):
        def finetune(self, start: Any, examples: Any, directory: Path, round_number: int) -> Checkpoint:
            if round_number == 4:
                raise TrainingDiverged("the loss is not finite")
            return super().finetune(start, examples, directory, round_number)

    given = parts(run, target)
    given.trainer = DivergesOnce(run)
    outcome = start_run(settings.model_copy(update={"measure": measure}), run, parts=given)
    assert [row.round for row in rows(outcome) if row.problem] == [4]
    assert [row.round for row in rows(outcome) if row.measured is not None] == [5]


def test_comparisons_stand_beside_the_base_model_and_the_weights_before(tmp_path: Path, settings: Settings) -> None:
    outcome = carried_out(settings, tmp_path / "run", Scripted({}, {0: 0.5, 1: 0.1}, {1: 1.2}))
    made = {(item.what, item.against): item for item in rows(outcome)[1].comparisons}
    assert set(made) == {
        (what, against)
        for what in ("held_out", "benign_refusals", "benign_abstentions", "capability", "same_opening")
        for against in (-1, 0)
    }
    assert made["held_out", -1].fewer == 36 and made["held_out", 0].fewer == 16
    assert made["held_out", 0].direction == -1 and made["benign_refusals", 0].direction == 0
    assert made["capability", 0].difference == pytest.approx(0.2) and made["capability", 0].direction == 1
    assert rows(outcome)[1].capability is not None


def test_full_weights_of_a_rolled_back_round_go_and_the_best_stay(tmp_path: Path, settings: Settings) -> None:
    run = tmp_path / "run"
    training = settings.training.model_copy(update={"method": "full"})

    class Full(FakeTrainer):
        def finetune(self, start: Any, examples: Any, directory: Path, round_number: int) -> Checkpoint:
            (directory / "checkpoint").mkdir(parents=True, exist_ok=True)
            made = super().finetune(start, examples, directory, round_number)
            path = (directory / "checkpoint").relative_to(self.root).as_posix()
            return made.model_copy(update={"kind": "full", "path": path})

    target = Scripted({4: DECLINES}, {0: 0.2, 1: 0.25})
    given = parts(run, target)
    given.trainer = Full(run)
    start_run(settings.model_copy(update={"training": training}), run, parts=given)
    assert interventions(run)[0]["back_to"] == 0
    left = {path.parent.name for path in run.glob("rounds/*/checkpoint")}
    assert left == {"0000", "0005"}, "the best, and the last"
