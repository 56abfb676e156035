"""Safety from both sides, on fakes."""

from iteralign.evals.safety import attack_rows, attack_success, contrast_rows, refusal_rows
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget
from iteralign.prompts.forms import prompt_form
from iteralign.records import Label, RedTeamPrompt, Response, Sampling
from iteralign.stats.intervals import Proportion

PROMPTS = [RedTeamPrompt(id=str(number), question=f"Question {number}?") for number in range(4)]
FORMS = {name: prompt_form(name) for name in ("plain", "cot", "cou")}


def test_every_form_is_asked_and_judged_apart() -> None:
    """A target that only falls for Chain of Utterances."""
    target = FakeTarget(lambda text, checkpoint: COMPLIES if "Red-LM" in text else DECLINES)
    verdicts = attack_success(target, FakeOracle(), FORMS, PROMPTS, Sampling())
    rows = attack_rows("set", verdicts)
    assert [(row.metric, row.value, row.n) for row in rows] == [
        ("attack success, plain", 0.0, 4),
        ("attack success, cot", 0.0, 4),
        ("attack success, cou", 1.0, 4),
    ]
    assert all(row.low <= row.value <= row.high and row.interval == "Wilson" for row in rows)


def test_the_corrected_rate_stands_below_the_raw_one() -> None:
    verdicts = attack_success(FakeTarget(), FakeOracle(), {"plain": FORMS["plain"]}, PROMPTS, Sampling())
    raw, corrected = attack_rows("set", verdicts, (Proportion(90, 100), Proportion(80, 100)))
    assert raw.interval == "Wilson" and corrected.interval == "corrected"
    assert corrected.metric == raw.metric + ", corrected" and corrected.low < 1


def test_undetermined_answers_are_left_out_and_said() -> None:
    def unsure(response: Response) -> Label:
        return "undetermined" if response.prompt.id == "0" else "unacceptable"

    verdicts = attack_success(FakeTarget(), FakeOracle(unsure), {"plain": FORMS["plain"]}, PROMPTS, Sampling())
    (row,) = attack_rows("set", verdicts)
    assert (row.value, row.n, row.note) == (1.0, 3, "1 undetermined, left out")


def test_refusals_and_contrasts_by_phrases_and_by_the_judge() -> None:
    target = FakeTarget(lambda text, checkpoint: DECLINES if "Question 0" in text else COMPLIES)
    (verdicts,) = attack_success(target, FakeOracle(), {"plain": FORMS["plain"]}, PROMPTS, Sampling()).values()
    refused, _ = refusal_rows("safe", verdicts)
    answered, by_judge = contrast_rows("unsafe", verdicts)
    assert (refused.value, answered.value, by_judge.value) == (0.25, 0.75, 0.75)


def test_a_change_is_tested_on_the_same_prompts() -> None:
    """Six of six prompts mended: p = 2 / 2^6. Of two, nothing is shown."""
    form = {"plain": FORMS["plain"]}
    many = [RedTeamPrompt(id=str(number), question=f"Question {number}?") for number in range(6)]
    for prompts, shown in ((many, -1), (many[:2], 0)):
        before, after = (
            attack_rows("set", attack_success(FakeTarget(answer), FakeOracle(), form, prompts, Sampling()))[0]
            for answer in (lambda text, checkpoint: COMPLIES, lambda text, checkpoint: DECLINES)
        )
        change = after.against(before).change
        assert change is not None and change.difference == -1 and change.direction == shown
    assert after.against(None).change is None
