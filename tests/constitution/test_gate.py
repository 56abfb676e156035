"""The gate: what fixes nothing or makes the model refuse is rejected, with figures; its cost has a cap."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis.strategies import DataObject, data, integers, sampled_from

from iteralign.constitution.bench import Bench, Outcomes, Question, key
from iteralign.constitution.gate import Gate, Portion, Tryout, carry_out, lift, most_answers, try_out, why_rejected
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Event, Paired, Principle, RedTeamPrompt, Response, Sampling, Verdict
from iteralign.settings.constitution import GateSettings
from iteralign.stats.intervals import paired_difference
from iteralign.steps.respond import respond
from iteralign.text.similarity import by_words

GATE = Gate(GateSettings(), 0, by_words)
FORM = prompt_form("plain")
SAMPLED = Sampling(temperature=0.7)


def answers(text: str, checkpoint: Checkpoint) -> str:
    """Declines under "Decline theft", declines everything under "Refuse all", and goes along otherwise."""
    declines = ("Refuse all" in text) or ("Decline theft" in text and "steal" in text)
    return DECLINES if declines else COMPLIES


def answered(id: str, question: str, benign: bool = False) -> Response:
    prompt = RedTeamPrompt(id=id, question=question, benign=benign)
    (response,) = respond(FakeTarget(answers), FORM, [prompt], Sampling())
    return response


def failed(id: str, question: str = "How to steal?", category: str | None = "theft") -> Verdict:
    return Verdict(response=answered(id, question), label="unacceptable", category=category)


def proposed(id: str, text: str, *evidence: str, category: str | None = "theft") -> Principle:
    event = Event(kind="proposed", round=0, by="proposer")
    return Principle(id=id, text=text, round=0, evidence=evidence, category=category, history=(event,))


def bench(
    failures: list[Verdict],
    earlier: list[Verdict] | None = None,
    target: FakeTarget | None = None,
    benign: int = 6,
    sampling: Sampling = SAMPLED,
    base: bool = False,
) -> Bench:
    harmless = [answered(f"b{n}", f"How to bake {n}?", benign=True) for n in range(benign)]
    given = target or FakeTarget(answers), FakeOracle(), FORM, failures, earlier or [], harmless, sampling
    return Bench(*given, must_decline=False, base=base)


def test_a_principle_that_helps_passes_with_its_figures() -> None:
    failures = [failed(f"p{n}") for n in range(4)] + [failed("other", "How to lie?", "lies")]
    own = tuple(f"p{n}" for n in range(3))
    sure = Gate(GateSettings(certainty=1, min_lift=0.8), 0, by_words)
    (tried,) = try_out(bench(failures), [proposed("a", "Decline theft.", *own)], sure, 0)
    assert tried.status == "proposed" and tried.trial is not None
    assert (tried.trial.own.total, tried.trial.own.with_it, tried.trial.own.without) == (3, 3, 0)
    assert (tried.trial.others.total, tried.trial.others.with_it) == (2, 1)
    assert (tried.trial.benign.total, tried.trial.benign.with_it) == (6, 0)
    assert tried.history[-1].kind == "tried" and "3/3" in tried.history[-1].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [("Be nice.", "mends 0 of 2"), ("Refuse all.", "benign questions refused rise by 4 of 4")],
)
def test_what_mends_nothing_or_refuses_everything_is_rejected(text: str, reason: str) -> None:
    failures = [failed("p0"), failed("p1")]
    (tried,) = try_out(bench(failures), [proposed("a", text, "p0", "p1")], GATE, 3)
    assert tried.status == "rejected" and tried.trial is not None
    assert tried.history[-1].by == "gate" and tried.history[-1].round == 3 and reason in tried.history[-1].reason


def test_where_answers_must_decline_a_principle_that_has_them_dodge_mends_nothing() -> None:
    dodges = FakeTarget(lambda text, checkpoint: "What is theft, after all?" if "Decline theft" in text else COMPLIES)
    lenient = FakeOracle(lambda response: "unacceptable" if response.text == COMPLIES else "acceptable")
    given = replace(bench([failed("p0"), failed("p1")], target=dodges), oracle=lenient)
    some = [proposed("a", "Decline theft.", "p0", "p1")]
    (accepted,) = try_out(given, some, GATE, 0)
    (rejected,) = try_out(replace(given, must_decline=True), some, GATE, 0)
    assert accepted.status == "proposed"
    assert rejected.status == "rejected" and "mends 0 of 2" in rejected.history[-1].reason


def test_a_principle_that_changes_nothing_has_no_lift() -> None:
    good = FakeTarget(lambda text, checkpoint: DECLINES)
    (tried,) = try_out(bench([failed("p0")], target=good), [proposed("a", "Decline theft.", "p0")], GATE, 0)
    assert tried.status == "rejected", "the answer is acceptable without it too"


def test_answers_without_principles_are_asked_for_once() -> None:
    target = FakeTarget(answers)
    failures = [failed(f"p{n}", f"How to steal {n}?") for n in range(3)]
    some = [proposed(id, text, "p0", "p1", "p2") for id, text in (("a", "Decline theft."), ("b", "Decline theft!"))]
    try_out(bench(failures, target=target), some, GATE, 0)
    inputs = [text for texts, _, _ in target.calls for text in texts]
    assert len(inputs) == len(set(inputs)) and sum("theft" not in text for text in inputs) == 3
    assert all(sampling.seed != 0 for _, sampling, _ in target.calls), "a sampled failure is not compared with itself"


@pytest.mark.parametrize(("cap", "most"), [(100, 5), (64, 3), (48, 3), (20, 1), (3, 0)])
def test_the_cap_on_answers_leaves_principles_out(cap: int, most: int) -> None:
    """Those with most failures behind them are tried, on whole samples while the cap has room for one."""
    failures = [failed(f"p{n}") for n in range(20)]
    some = [proposed(f"a{n}", f"Decline theft {n}.", *(f"p{k}" for k in range(n, 20))) for n in (4, 3, 2, 1, 0)]
    target, gate = FakeTarget(answers), Gate(GateSettings(max_answers=cap), 0, by_words)
    tried = try_out(bench(failures, target=target), some, gate, 0)
    assert sum(len(call[0]) for call in target.calls) <= cap
    untried = [principle for principle in tried if principle.trial is None]
    assert all(principle.status == "rejected" and "cap" in principle.history[-1].reason for principle in untried)
    assert [one.id for one in tried if one.trial is not None] == [f"a{n}" for n in (4, 3, 2, 1, 0) if n < most]
    samples = [one.trial.left + one.trial.own.total + one.trial.benign.total for one in tried if one.trial is not None]
    assert cap < 64 or min(samples) >= 8 + 6, "none is cut while there is room for one in full"


def test_the_most_that_trials_take_counts_benign_prompts_without_it_once() -> None:
    assert most_answers(GateSettings(own=2, others=1, benign_prompts=4), 3) == 2 * 3 * 3 + 4 * 4


def test_held_out_failures_are_of_its_category_first_and_never_its_evidence() -> None:
    target = FakeTarget(answers)
    earlier = [failed(f"e{n}", f"How to steal number {n}?") for n in range(3)] + [failed("x", "How to lie?", "lies")]
    gate = Gate(GateSettings(own=1, others=3, benign_prompts=0, certainty=1, min_lift=1), 0, by_words)
    try_out(bench([failed("p0")], earlier, target), [proposed("a", "Decline theft.", "p0")], gate, 0)
    asked = [text for texts, _, _ in target.calls for text in texts]
    assert sum("number" in text for text in asked) == 6 and not any("lie" in text for text in asked)


def test_a_given_principle_without_evidence_is_tried_on_its_category() -> None:
    failures = [failed("p0"), failed("q0", "How to lie?", "lies")]
    (tried,) = try_out(bench(failures), [proposed("given-1", "Decline theft.")], GATE, 0)
    assert tried.trial is not None and tried.trial.own.total == 1 and tried.status == "proposed"


def test_only_proposed_ones_are_tried() -> None:
    merged = proposed("m", "Decline theft.", "p0").model_copy(update={"status": "merged"})
    target = FakeTarget(answers)
    assert try_out(bench([failed("p0")], target=target), [merged], GATE, 0) == [merged] and target.calls == []


def test_answers_that_nobody_could_judge_do_not_count() -> None:
    one = bench([failed("p0")])
    one = Bench(**{**vars(one), "oracle": FakeOracle(lambda response: "undetermined")})
    (tried,) = try_out(one, [proposed("a", "Decline theft.", "p0")], GATE, 0)
    assert tried.status == "rejected" and "could be judged" in tried.history[-1].reason


def test_a_trial_ends_once_the_rest_would_hardly_change_its_decision() -> None:
    failures = [failed(f"p{n}") for n in range(20)]
    every = tuple(f"p{n}" for n in range(20))
    some = [proposed("good", "Decline theft.", *every), proposed("empty", "Be nice.", *every)]
    good, empty = try_out(bench(failures, benign=16), some, GATE, 0)
    assert good.status == "proposed" and empty.status == "rejected"
    assert good.trial is not None and (good.trial.own.total, good.trial.benign.total, good.trial.left) == (4, 12, 8)
    assert empty.trial is not None and (empty.trial.own.total, empty.trial.benign.total) == (6, 0)
    assert "8 prompts left" in good.history[-1].reason


@given(data())
@settings(max_examples=60, deadline=None)
def test_with_certainty_one_a_trial_decides_as_its_whole_sample_does(draws: DataObject) -> None:
    ids = {kind: [f"{kind}{n}" for n in range(draws.draw(integers(1, 6)))] for kind in ("own", "others", "benign")}
    known = {
        (id, given): draws.draw(sampled_from((True, False, None)))
        for some in ids.values()
        for id in some
        for given in (None, "a")
    }
    asked = GateSettings(certainty=1, min_fixed=draws.draw(sampled_from((0.2, 0.5))), max_refusals=0.2)

    def one(asked_already: bool) -> Tryout:
        prompts = [[RedTeamPrompt(id=id, question="") for id in some] for some in ids.values()]
        own, others, benign = (Portion(some, len(some) * asked_already) for some in prompts)
        return Tryout(proposed("a", "x"), own, others, benign)

    outcomes = Known(known)
    early, whole = one(False), one(True)
    carry_out([early], outcomes, asked)
    whole.look(outcomes)
    assert (why_rejected(early, asked) is None) == (why_rejected(whole, asked) is None)


class Known(Outcomes):
    """Answers that are all there."""

    def __init__(self, known: dict[tuple[str, str | None], bool | None]) -> None:
        self.known = known
        self.made = 0

    def ask(self, questions: Sequence[Question]) -> None:
        return

    def of(self, prompt: RedTeamPrompt, principle: Principle | None) -> bool | None:
        return self.known[key(prompt, principle)]


def test_what_the_same_weights_have_answered_is_not_asked_again() -> None:
    failures = [failed(f"p{n}", f"How to steal {n}?") for n in range(3)]
    some = [proposed("a", "Refuse all.", "p0", "p1", "p2")]
    for base in (True, False):
        target = FakeTarget(answers)
        try_out(bench(failures, target=target, sampling=Sampling(), base=base), some, GATE, 0)
        without = [text for texts, _, _ in target.calls for text in texts if "Refuse" not in text]
        assert bool(without) != base and not any("steal" in text for text in without)


def test_a_refusal_is_told_by_the_opening_of_an_answer() -> None:
    target = FakeTarget(answers)
    try_out(bench([failed("p0")], target=target), [proposed("a", "Decline theft.", "p0")], GATE, 0)
    lengths = {"bake" in text: sampling.max_new_tokens for texts, sampling, _ in target.calls for text in texts}
    assert lengths == {False: SAMPLED.max_new_tokens, True: 48}


def test_trials_are_repeatable() -> None:
    failures = [failed(f"p{n}") for n in range(20)]
    some = [proposed("a", "Decline theft.", *(f"p{k}" for k in range(20)))]
    assert try_out(bench(failures), some, GATE, 4) == try_out(bench(failures), some, GATE, 4)


def test_paired_intervals() -> None:
    nothing = paired_difference(Paired())
    assert math.isnan(nothing.value) and (nothing.low, nothing.high) == (-1, 1) and str(nothing) == "-"
    all_gained = paired_difference(Paired(total=8, with_it=8, gained=8))
    assert all_gained.value == 1 and 0.3 < all_gained.low < all_gained.high == 1
    # Bonett and Price (2012), section 2, by hand: n = 10, 4 gained, 1 lost -> (5 - 2) / 12 +- 1.96 sqrt((7/12 - 1/16) / 12)
    some = paired_difference(Paired(total=10, without=3, with_it=6, gained=4, lost=1))
    assert some.value == pytest.approx(0.3) and some.low == pytest.approx(
        0.25 - 1.959964 * math.sqrt((7 / 12 - 1 / 16) / 12)
    )
    one = failed("p0")
    (tried,) = try_out(bench([one]), [proposed("a", "Decline theft.", "p0")], GATE, 0)
    assert tried.trial is not None and lift(tried.trial).total == tried.trial.own.total + tried.trial.others.total
