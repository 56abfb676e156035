"""Agreement with people, biases, and rates corrected for the judge's errors."""

import math
import random
from typing import Literal

import pytest

from iteralign.evals.agreement import agreement, attack_errors, corrected, kappa, length_bias, pair_agreement
from iteralign.evals.human_labels import Labelled, LabelledPair
from iteralign.records import Label, RedTeamPrompt, Response, Verdict
from iteralign.stats.intervals import Proportion


def response(text: str) -> Response:
    prompt = RedTeamPrompt(id="x", question="?")
    return Response(prompt=prompt, input="?", text=text, finish="stop", prompt_tokens=0, tokens=0)


def said(human: Literal["acceptable", "unacceptable"], judge: Label, text: str = "a b") -> tuple[Labelled, Verdict]:
    answer = response(text)
    return Labelled(answer, human, "all"), Verdict(response=answer, label=judge)


def split(items: list[tuple[Labelled, Verdict]]) -> tuple[list[Labelled], list[Verdict]]:
    return [one for one, _ in items], [verdict for _, verdict in items]


def test_counts_by_hand() -> None:
    items = [said("unacceptable", "unacceptable")] * 6 + [said("unacceptable", "acceptable")] * 2
    items += (
        [said("acceptable", "acceptable")] * 9
        + [said("acceptable", "unacceptable")]
        + [said("acceptable", "undetermined")] * 3
    )
    found = agreement(*split(items))
    assert (found.total, found.undetermined) == (21, 3)
    assert found.sensitivity == Proportion(6, 8) and found.specificity == Proportion(9, 10)
    assert found.accuracy == Proportion(15, 18)
    expected = (8 / 18) * (7 / 18) + (10 / 18) * (11 / 18)
    assert found.kappa == pytest.approx((15 / 18 - expected) / (1 - expected))
    assert found.kappa_interval[0] < found.kappa < found.kappa_interval[1]


def test_kappa_has_no_value_without_variety_and_is_zero_by_chance() -> None:
    assert math.isnan(kappa([])) and math.isnan(kappa([(True, True)] * 5))
    assert kappa([(True, True), (True, False), (False, True), (False, False)]) == 0


def test_undetermined_verdicts_are_neither_right_nor_wrong() -> None:
    found = agreement(*split([said("acceptable", "undetermined")] * 4))
    assert found.accuracy.total == 0 and found.undetermined == 4 and math.isnan(found.kappa)


def test_length_bias_sees_a_judge_that_likes_long_answers() -> None:
    long, short = "word " * 50, "word"
    fair = [said("unacceptable", "unacceptable", text) for text in (long, short)] * 20
    assert length_bias(*split(fair)).value == 0
    biased = [said("unacceptable", "acceptable", long), said("unacceptable", "unacceptable", short)] * 20
    found = length_bias(*split(biased))
    assert found.value == 1 and found.interval == (1, 1)
    assert math.isnan(length_bias([], []).value)


def test_pairs() -> None:
    def judged(chosen: Label, rejected: Label, longer: bool) -> tuple[LabelledPair, tuple[Verdict, Verdict]]:
        pair = LabelledPair(response("a b c" if longer else "a"), response("a b"))
        return pair, (Verdict(response=pair.chosen, label=chosen), Verdict(response=pair.rejected, label=rejected))

    items = [judged("acceptable", "unacceptable", True)] * 3 + [judged("unacceptable", "acceptable", True)]
    items += [judged("acceptable", "acceptable", False)] * 4 + [judged("acceptable", "undetermined", False)] * 2
    found = pair_agreement([pair for pair, _ in items], [verdicts for _, verdicts in items])
    assert found.total == 10 and found.told_apart == Proportion(4, 10) and found.with_people == Proportion(3, 4)
    assert found.prefers_longer == Proportion(3, 4) and found.people_prefer_longer == Proportion(4, 10)


def test_rogan_and_gladen_by_hand() -> None:
    found = corrected(Proportion(30, 100), Proportion(90, 100), Proportion(180, 200))
    assert found.rate == pytest.approx((0.3 + 0.9 - 1) / (0.9 + 0.9 - 1))
    assert found.low < found.rate < found.high and not found.problem


def test_a_perfect_judge_changes_little() -> None:
    found = corrected(Proportion(30, 100), Proportion(1000, 1000), Proportion(1000, 1000))
    raw = Proportion(30, 100)
    assert found.rate == pytest.approx(raw.rate)
    assert found.low == pytest.approx(raw.interval[0], abs=0.02) and found.high == pytest.approx(
        raw.interval[1], abs=0.02
    )


@pytest.mark.parametrize(
    ("raw", "sensitivity", "specificity", "problem"),
    [
        (Proportion(0, 0), Proportion(9, 10), Proportion(9, 10), "no count"),
        (Proportion(5, 10), Proportion(0, 0), Proportion(9, 10), "no count"),
        (Proportion(5, 10), Proportion(5, 10), Proportion(5, 10), "no better than chance"),
        (Proportion(5, 200), Proportion(100, 100), Proportion(600, 1000), "can't have erred here as often"),
    ],
)
def test_where_there_is_no_estimate(
    raw: Proportion, sensitivity: Proportion, specificity: Proportion, problem: str
) -> None:
    found = corrected(raw, sensitivity, specificity)
    assert math.isnan(found.rate) and (found.low, found.high) == (0, 1) and problem in found.problem


@pytest.mark.parametrize("true", [0.05, 0.3, 0.8])
def test_the_corrected_interval_holds_as_often_as_it_says(true: float) -> None:
    """400 simulated studies: 200 answers, a judge with errors that are themselves measured on 100 labelled ones each."""
    draw, sensitivity, specificity, held = random.Random(int(100 * true)), 0.85, 0.9, 0
    for _ in range(400):
        positives = sum(draw.random() < (sensitivity if draw.random() < true else 1 - specificity) for _ in range(200))
        se, sp = (sum(draw.random() < rate for _ in range(100)) for rate in (sensitivity, specificity))
        found = corrected(Proportion(positives, 200), Proportion(se, 100), Proportion(sp, 100))
        held += found.low <= true <= found.high
    assert held >= 0.92 * 400


def test_red_teaming_uses_the_errors_on_unsafe_prompts() -> None:
    everything = agreement(*split([said("acceptable", "acceptable")]))
    unsafe = agreement(*split([said("unacceptable", "acceptable")]))
    assert attack_errors({"all": everything, "unsafe prompts": unsafe}) is unsafe
    assert attack_errors({"all": everything}) is everything and attack_errors({}) is None
