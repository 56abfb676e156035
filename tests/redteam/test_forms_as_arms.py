"""Prompts asked in several forms: each by itself, mended in the run's own form, trained on in the form that failed."""

from pathlib import Path

import pytest

from iteralign.errors import ConfigError
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.integrity.verify import verify_run
from iteralign.prompts.forms import FormsByPrompt, prompt_form
from iteralign.records import Checkpoint, Principle, RedTeamPrompt
from iteralign.redteam.forms import in_forms
from iteralign.redteam.pool import PromptPool
from iteralign.rundir.reader import read_run
from iteralign.runs import build
from iteralign.runs.parts import Parts
from iteralign.runs.run import start_run
from iteralign.settings.settings import load_settings

BASE = Checkpoint(kind="base", path="base")
QUESTION = RedTeamPrompt(id="p", question="How to do it?", category="c")


def test_each_prompt_is_asked_in_the_form_that_it_names() -> None:
    forms = FormsByPrompt(prompt_form("plain"), {"cou": prompt_form("cou"), "cot": prompt_form("cot")})
    own, cou, cot = in_forms([QUESTION], ["cou", "cot"])
    assert own == QUESTION and (cou.id, cot.id) == ("p (cou)", "p (cot)") and cou.in_own_form.form is None
    assert forms.render(own) == prompt_form("plain").render(QUESTION)
    assert forms.render(cou) == prompt_form("cou").render(QUESTION) and "Red-LM" in forms.render(cou)
    assert forms.render(cot) == prompt_form("cot").render(QUESTION)
    assert forms.of(cou).answer("No.\nRed-LM: more") == "No." and forms.of(own).answer("No.\nRed-LM: more") != "No."
    assert forms.answer("a\n\nHuman: b") == "a" and forms.completion("a") == " a"
    rule = Principle(id="r", text="Be kind.", round=0)
    assert forms.ask_critique(cou.in_own_form, [rule], "x") == prompt_form("plain").ask_critique(QUESTION, [rule], "x")


def test_what_a_prompt_did_in_one_form_says_nothing_of_another() -> None:
    pool = PromptPool(in_forms([QUESTION, QUESTION.model_copy(update={"id": "q"})], ["cou"]))
    assert list(pool.likeness(0)) == [1, 1, 0, 0] and list(pool.kinds) == [0, 0, 1, 1]


def test_a_form_is_an_arm_once() -> None:
    values = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}
    with pytest.raises(ConfigError, match="plain is among them twice"):
        load_settings(values, ["redteam.forms=[plain]"])


@pytest.mark.parametrize("order", ["file", "seeking"])
def test_failures_of_a_form_are_mended_in_the_run_s_own_and_trained_on_in_theirs(tmp_path: Path, order: str) -> None:
    (tmp_path / "q.txt").write_text("".join(f"How does one do thing {n}?\n" for n in range(12)))
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": str(tmp_path / "q.txt"), "held_out": 0.0, "benign_limit": 10},
        "oracle": {"kind": "rules"},
        "rounds": {"prompts": 4},
        "redteam": {"order": order, "forms": ["cot"]},
    }
    settings, step = load_settings(values), "Let's think step by step."

    def fails_step_by_step(text: str, checkpoint: Checkpoint) -> str:
        return COMPLIES if text.endswith(step) else DECLINES

    plain, directory = prompt_form("plain"), tmp_path / "run"
    forms = build.build_forms(settings, build.build_model(settings), plain)
    seams = FakeTarget(fails_step_by_step), FakeOracle(), FakeTrainer(directory)
    start_run(settings, directory, parts=Parts(*seams, forms, BASE))
    run = read_run(directory)
    asked = [verdict for one in run.rounds() for verdict in one.verdicts()]
    assert len({one.response.prompt.id for one in asked}) == 24 == 4 * run.planned_rounds()
    assert {one.response.prompt.form for one in asked if one.label == "unacceptable"} == {"cot"}
    revised = [revision for one in run.rounds() for revision in one.revisions()]
    assert revised and all(not revision.response.input.endswith(step) for revision in revised)
    rows = [row for one in run.rounds() for row in one.examples() if row.kind == "revision"]
    assert len(rows) == 12 and all(row.prompt.endswith(step) and row.completion == f" {DECLINES}" for row in rows)
    benign = [row for one in run.rounds() for row in one.examples() if row.kind == "benign"]
    in_form = [row for row in benign if row.prompt.endswith(step)]
    assert benign and abs(2 * len(in_form) - len(benign)) <= len(run.rounds()), "a form is no reason to decline"
    given = {row.prompt_id: row.completion for row in benign if row not in in_form}
    assert all(row.completion == given.get(row.prompt_id, row.completion) for row in in_form)
    assert verify_run(directory).good
