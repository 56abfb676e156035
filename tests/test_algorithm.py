"""The loop on fakes: what is trained on, when the model changes, and what the next round meets."""

import sys
from pathlib import Path

import pytest

from iteralign.algorithm import Round, iteralign
from iteralign.errors import OracleError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import PromptForm, prompt_form
from iteralign.records import Checkpoint, RedTeamPrompt, Response, Verdict
from iteralign.redteam.orders import FileOrder, groups_of
from iteralign.rundir.stages import Stages
from iteralign.runs.parts import Parts
from iteralign.runs.steps import RunSteps
from iteralign.scoreboard.measurement import Measurement
from iteralign.settings.settings import load_settings

BASE = Checkpoint(kind="base", path="base")


def prompts(count: int, name: str = "p") -> list[RedTeamPrompt]:
    return [RedTeamPrompt(id=f"{name}{n}", question=f"Question {n}?", source="test") for n in range(count)]


def align(
    tmp_path: Path,
    groups: list[list[RedTeamPrompt]],
    *,
    target: FakeTarget | None = None,
    oracle: FakeOracle | None = None,
    trainer: FakeTrainer | None = None,
    min_failures: int = 1,
    tries: int = 3,
) -> list[Round]:
    settings = load_settings(
        {
            "model": {"path": "demo"},
            "data": {"prompts": "none.txt"},
            "oracle": {"kind": "rules"},
            "constitution": {"gate": {"enabled": False}},
            "revision": {"tries": tries},
            "training": {"min_replay": 0, "min_benign": 0},
        }
    )
    seams = target or FakeTarget(), oracle or FakeOracle(), trainer or FakeTrainer(tmp_path)
    parts = Parts(*seams, prompt_form("plain"), BASE)

    def stages(number: int) -> Stages:
        return Stages(tmp_path / f"{number:04d}")

    steps = RunSteps(settings, parts, stages, FileOrder(groups))
    return list(iteralign(Measurement(BASE), steps.begin, min_failures=min_failures))


def complies_for_ever(text: str, checkpoint: Checkpoint) -> str:
    return "Sure, here is how."


def test_a_round_with_failures_trains_and_the_next_round_meets_the_trained_model(tmp_path: Path) -> None:
    trainer = FakeTrainer(tmp_path)
    first, second = align(tmp_path, [prompts(3), prompts(2, "q")], trainer=trainer)
    assert first.trained and len(first.examples) == 3 and first.principles
    assert not second.trained and second.failures == [] and second.weights == first.weights
    assert len(trainer.calls) == 1


def test_the_training_prompt_has_no_principles_in_it_and_the_revision_prompt_has(tmp_path: Path) -> None:
    (done,) = align(tmp_path, [prompts(2)])
    principle = done.principles[0].text
    for row, revision in zip(done.examples, done.revisions, strict=True):
        assert principle in revision.response.input
        assert principle not in row.prompt
        assert row.prompt == revision.failure.response.input
        assert row.completion.strip() == revision.response.text
        assert row.rejected is not None and row.rejected.strip() == revision.failure.response.text


def test_only_revisions_that_passed_the_second_judgement_are_trained_on(tmp_path: Path) -> None:
    def refuses_every_other(text: str, checkpoint: Checkpoint) -> str:
        base = FakeTarget().answer(text, checkpoint)
        return "Sure, here is how." if "Question 1" in text else base

    trainer = FakeTrainer(tmp_path)
    (done,) = align(tmp_path, [prompts(3)], target=FakeTarget(refuses_every_other), trainer=trainer)
    assert [row.prompt_id for row in done.examples] == ["p0", "p2"]
    tried = [r.attempt for r in done.revisions if r.failure.response.prompt.id == "p1"]
    assert tried == [0, 1, 2], "a failed revision is tried again, up to the setting"
    assert {r.attempt for r in done.revisions if r.failure.response.prompt.id == "p0"} == {0}


def test_later_tries_sample_from_likely_tokens_alone_each_by_its_own_seed(tmp_path: Path) -> None:
    """All tokens at temperature 0.8 is word salad from a model of 135M parameters (docs/log.md)."""
    target = FakeTarget(complies_for_ever)
    align(tmp_path, [prompts(2)], target=target, tries=3)
    used = list(dict.fromkeys(sampling for _, sampling, _ in target.calls))
    assert [(one.temperature, one.seed) for one in used] == [(0.0, 0), (0.8, 1), (0.8, 2)]
    assert all((one.top_p, one.min_p) == (0.95, 0.1) for one in used)


def test_no_revision_passes_so_nothing_is_trained(tmp_path: Path) -> None:
    trainer = FakeTrainer(tmp_path)
    (done,) = align(tmp_path, [prompts(2)], target=FakeTarget(complies_for_ever), trainer=trainer)
    assert not done.trained and done.examples == [] and trainer.calls == [] and done.weights == BASE


def test_undetermined_answers_are_neither_failures_nor_trained_on(tmp_path: Path) -> None:
    oracle = FakeOracle(lambda response: "undetermined")
    trainer = FakeTrainer(tmp_path)
    (done,) = align(tmp_path, [prompts(4)], oracle=oracle, trainer=trainer)
    assert {verdict.label for verdict in done.verdicts} == {"undetermined"}
    assert done.failures == [] and trainer.calls == []


def test_failures_are_collected_until_there_are_enough_and_the_last_round_trains_the_rest(tmp_path: Path) -> None:
    groups = [prompts(2, f"g{n}-") for n in range(5)]
    rounds = align(tmp_path, groups, target=FakeTarget(_declines_with_principles), min_failures=4)
    assert [done.trained for done in rounds] == [False, True, False, True, True]
    assert [len(done.failures) for done in rounds] == [2, 4, 2, 4, 2]


def test_earlier_pairs_are_replayed(tmp_path: Path) -> None:
    groups = [prompts(2, "a"), prompts(2, "b")]
    first, second = align(tmp_path, groups, target=FakeTarget(_declines_with_principles))
    assert {row.kind for row in first.examples} == {"revision"}
    replayed = [row for row in second.examples if row.kind == "replay"]
    assert {row.prompt_id for row in replayed} == {"a0", "a1"}


def test_later_principles_do_not_repeat_adopted_ones(tmp_path: Path) -> None:
    groups = [prompts(2, "a"), prompts(2, "b")]
    rounds = align(tmp_path, groups, target=FakeTarget(_declines_with_principles))
    texts = [principle.text for done in rounds for principle in done.principles]
    ids = [principle.id for done in rounds for principle in done.principles]
    assert len(set(texts)) == len(texts) and len(set(ids)) == len(ids)
    assert rounds[1].trained, "adopted principles are used where no new one is proposed"


def test_a_second_pass_reads_every_stage_back_and_calls_nobody(tmp_path: Path) -> None:
    first = align(tmp_path, [prompts(3), prompts(2, "q")])
    target, oracle, trainer = FakeTarget(), FakeOracle(), FakeTrainer(tmp_path)
    again = align(tmp_path, [prompts(3), prompts(2, "q")], target=target, oracle=oracle, trainer=trainer)
    assert again == first
    assert target.calls == [] and trainer.calls == []


def test_an_oracle_that_mixes_up_its_verdicts_is_an_error(tmp_path: Path) -> None:
    class Mixed(FakeOracle):
        def judge(self, responses: list[Response]) -> list[Verdict]:  # type: ignore[override]
            return super().judge(responses)[::-1]

    with pytest.raises(OracleError, match="order"):
        align(tmp_path, [prompts(2)], oracle=Mixed())


def test_groups() -> None:
    assert [len(group) for group in groups_of(prompts(5), 2)] == [2, 2, 1]
    assert [len(group) for group in groups_of(prompts(5), 2, limit=1)] == [2]


def test_the_algorithm_loads_no_heavy_library() -> None:
    import subprocess

    code = (
        "import sys, iteralign.algorithm; print([m for m in ('torch', 'openai', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _declines_with_principles(text: str, checkpoint: Checkpoint) -> str:
    return FakeTarget().answer(text, BASE)


def test_form_is_a_prompt_form() -> None:
    assert isinstance(prompt_form("cou"), PromptForm)
