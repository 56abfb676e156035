"""The gate: a principle is tried in the target's context before it is adopted.

Each principle alone is put beside failed prompts (its own evidence, and others) and benign ones, and the answers are
compared with those to the same prompts without it. A trial ends as soon as the rest of its sample is unlikely to change
what is decided: stochastic curtailment (Lan, Simon and Halperin 1982) by predictive probability (Lee and Liu 2008). The
prompts are the run's training prompts. The held-out sets that a run reports on are never used here: a gate that had seen
them would make the report worthless.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from iteralign.constitution.bench import Bench, Outcomes, Question
from iteralign.records import Event, Paired, Principle, RedTeamPrompt, Trial
from iteralign.settings.constitution import GateSettings
from iteralign.stats.intervals import paired_difference
from iteralign.stats.prediction import chance
from iteralign.text.similarity import Similarity

_FAILURES_AT_ONCE, _BENIGN_AT_ONCE = 2, 4
"""Prompts that a trial goes on by, between two looks at its figures."""


@dataclass(frozen=True)
class Gate:
    """What a principle has to show, and how its prompts are chosen."""

    settings: GateSettings
    seed: int
    similarity: Similarity


@dataclass
class Portion:
    """Prompts of one kind in a trial, asked about in their order."""

    prompts: Sequence[RedTeamPrompt]
    asked: int = 0

    @property
    def left(self) -> int:
        """How many have not been asked about."""
        return len(self.prompts) - self.asked

    @property
    def so_far(self) -> Sequence[RedTeamPrompt]:
        """Those that have."""
        return self.prompts[: self.asked]

    def next(self, count: int) -> Sequence[RedTeamPrompt]:
        """So many more, which now have."""
        before, self.asked = self.asked, min(self.asked + count, len(self.prompts))
        return self.prompts[before : self.asked]


@dataclass
class Tryout:
    """A principle's trial as it goes on: failures first, benign prompts once those speak for it."""

    principle: Principle
    own: Portion
    others: Portion
    benign: Portion
    trial: Trial = field(default_factory=Trial)

    @property
    def left(self) -> int:
        """Prompts that have not been asked about."""
        return self.own.left + self.others.left + self.benign.left

    @property
    def most(self) -> int:
        """Answers that are still to come at most, not counting those to benign prompts without it, which all trials share."""
        return 2 * (self.own.left + self.others.left) + self.benign.left

    def go_on(self, asked: GateSettings) -> list[Question]:
        """What to ask next: failures without the principle and with it, benign prompts with it."""
        own, both, _ = self.chances(asked)
        open_ = min(own, both) < asked.certainty
        failures = next((part for part in (self.own, self.others) if part.left), None) if open_ else None
        if failures is None:
            return [(prompt, self.principle) for prompt in self.benign.next(_BENIGN_AT_ONCE)]
        return [(prompt, given) for prompt in failures.next(_FAILURES_AT_ONCE) for given in (None, self.principle)]

    def refused(self, outcomes: Outcomes) -> list[Question]:
        """Benign prompts that are refused with the principle, without it: only those can show that it makes refuse."""
        return [(prompt, None) for prompt in self.benign.so_far if outcomes.of(prompt, self.principle)]

    def look(self, outcomes: Outcomes) -> None:
        """Take in what the prompts so far have shown."""
        own, others = (
            _paired([(outcomes.of(prompt, None), outcomes.of(prompt, self.principle)) for prompt in part.so_far])
            for part in (self.own, self.others)
        )
        under_it = [(prompt, outcomes.of(prompt, self.principle)) for prompt in self.benign.so_far]
        benign = _paired([(outcomes.of(prompt, None) if refused else False, refused) for prompt, refused in under_it])
        self.trial = Trial(own=own, others=others, benign=benign, left=self.left)

    def is_open(self, asked: GateSettings) -> bool:
        """Whether the rest of the sample may well change what is decided."""
        least = min(self.chances(asked))
        return self.left > 0 and 1 - asked.certainty < least < asked.certainty

    def chances(self, asked: GateSettings) -> tuple[float, float, float]:
        """How likely the whole sample is to mend enough of its own, to have lift, and to leave benign prompts alone."""
        own, both, benign = self.trial.own, lift(self.trial), self.trial.benign
        others_left = self.own.left + self.others.left
        return (
            chance(
                lambda n: n[0] > own.with_it - own.gained and n[0] >= asked.min_fixed * sum(n),
                (own.with_it, own.total - own.with_it),
                self.own.left,
            ),
            chance(lambda n: n[0] - n[1] >= asked.min_lift * sum(n), _kinds(both), others_left),
            chance(lambda n: n[0] - n[1] <= asked.max_refusals * sum(n), _kinds(benign), self.benign.left),
        )


def try_out(bench: Bench, principles: Sequence[Principle], gate: Gate, round_number: int) -> list[Principle]:
    """The principles in their order; each proposed one with its trial, and `rejected` if it fails.

    Those with most failures behind them are tried first. One that the cap on answers leaves no room for is rejected untried; a
    later round may propose it again.
    """
    waiting = [principle for principle in principles if principle.status == "proposed"]
    waiting.sort(key=lambda principle: -len(principle.evidence))
    asked = _within_cap(gate.settings)
    gate = replace(gate, settings=asked)
    tryouts = [sample(principle, bench, gate, round_number) for principle in waiting]
    carried_out = carry_out(tryouts, Outcomes(bench), asked)
    tried = {one.principle.id: _judged(one, asked, round_number) for one in carried_out}
    tried |= {one.id: _untried(one, asked, round_number) for one in waiting if one.id not in tried}
    return [tried.get(principle.id, principle) for principle in principles]


def carry_out(tryouts: Sequence[Tryout], outcomes: Outcomes, asked: GateSettings) -> list[Tryout]:
    """Trials side by side, each until it is decided: what they need next is answered in one batch. Returns those that were.

    A trial begins once the cap has room for the whole of it; what those before it did not need makes room.
    """
    waiting, begun = list(tryouts), list[Tryout]()
    shared = max((len(one.benign.prompts) for one in tryouts), default=0)
    while True:
        going = [one for one in begun if one.is_open(asked)]
        taken = outcomes.made + sum(one.most for one in going) + shared
        while waiting and taken + waiting[0].most <= asked.max_answers:
            begun.append(one := waiting.pop(0))
            if one.is_open(asked):
                going.append(one)
                taken += one.most
        if not going:
            return begun
        outcomes.ask([question for one in going for question in one.go_on(asked)])
        outcomes.ask([question for one in going for question in one.refused(outcomes)])
        for one in going:
            one.look(outcomes)


def most_answers(asked: GateSettings, principles: int) -> int:
    """Answers that trying so many principles takes at most, not counting the cap."""
    return 2 * principles * (asked.own + asked.others) + (principles + 1) * asked.benign_prompts


def lift(trial: Trial) -> Paired:
    """Own and other failures together."""
    one, other = trial.own, trial.others
    return Paired(
        total=one.total + other.total,
        without=one.without + other.without,
        with_it=one.with_it + other.with_it,
        gained=one.gained + other.gained,
        lost=one.lost + other.lost,
    )


def why_rejected(one: Tryout, asked: GateSettings) -> str | None:
    """What a trial that is no longer open fails by, with the figures; None if it passes."""
    own, both, benign = one.trial.own, lift(one.trial), one.trial.benign
    mends, lifts, leaves = (chance > 0.5 for chance in one.chances(asked))
    if not own.total:
        return "none of its trial answers could be judged"
    if not mends:
        return f"it mends {own.with_it} of {own.total} of its own failures; at least {asked.min_fixed:.0%} is asked"
    if not lifts:
        return f"its lift is {paired_difference(both)}; at least {asked.min_lift:.0%} is asked"
    if not leaves:
        return (
            f"benign questions refused rise by {benign.gained} of {benign.total}; at most "
            f"{asked.max_refusals:.0%} is allowed"
        )
    return None


_IN_SHORT = {
    "it mends": "mended too little",
    "its lift": "mended too little",
    "benign questions": "made benign refusals rise",
    "not tried": "could not be tried",
    "none of its trial answers": "could not be judged",
}


def in_short(reason: str) -> str:
    """A reason of the gate's without its figures, so that principles can be counted by it."""
    return next((short for begin, short in _IN_SHORT.items() if reason.startswith(begin)), "were rejected")


def _within_cap(asked: GateSettings) -> GateSettings:
    """Samples with which one principle can be tried, if any can."""
    while most_answers(asked, 1) > asked.max_answers and max(asked.own, asked.others, asked.benign_prompts) > 2:
        halves = {name: -(-getattr(asked, name) // 2) for name in ("own", "others", "benign_prompts")}
        asked = asked.model_copy(update=halves)
    return asked


def sample(principle: Principle, bench: Bench, gate: Gate, round_number: int) -> Tryout:
    """Its trial, before anything was asked: own failures at random, others of its category first, then those most like its
    own, benign ones at random, half of them twins as far as there are any.

    Without any evidence among the failures (a principle given from outside), those of its category are its own, or all.
    """
    failures = list({failure.response.prompt.id: failure for failure in (*bench.earlier, *bench.failures)}.values())
    asked = gate.settings
    draw = random.Random(hashlib.sha256(f"{gate.seed} {round_number} {principle.id}".encode()).digest())
    own = [failure for failure in failures if failure.response.prompt.id in principle.evidence]
    own = own or [failure for failure in failures if failure.category == principle.category] or list(failures)
    mine = {failure.response.prompt.id for failure in own}
    others = [failure for failure in failures if failure.response.prompt.id not in mine]
    alike = gate.similarity([failure.response.prompt.question for failure in others], [principle.text])
    order = sorted(
        range(len(others)), key=lambda index: (others[index].category != principle.category, -alike[index][0], index)
    )
    # The same benign prompts for every principle of a round: without one they are answered once.
    same_draw = random.Random(hashlib.sha256(f"{gate.seed} {round_number}".encode()).digest())
    twins = min(len(bench.twins), asked.benign_prompts // 2)
    benign = same_draw.sample(list(bench.benign), min(len(bench.benign), asked.benign_prompts - twins))
    benign = [*same_draw.sample(list(bench.twins), twins), *benign]
    return Tryout(
        principle,
        Portion([failure.response.prompt for failure in draw.sample(own, min(len(own), asked.own))]),
        Portion([others[index].response.prompt for index in order[: asked.others]]),
        Portion([answer.prompt for answer in benign]),
    )


def _judged(one: Tryout, asked: GateSettings, round_number: int) -> Principle:
    said = Event(kind="tried", round=round_number, by="gate", reason=figures(one.trial))
    tried = one.principle.happened(said, trial=one.trial)
    reason = why_rejected(one, asked)
    if reason is None:
        return tried
    return tried.happened(Event(kind="rejected", round=round_number, by="gate", reason=reason), status="rejected")


def _untried(principle: Principle, asked: GateSettings, round_number: int) -> Principle:
    reason = f"not tried: the gate's cap of {asked.max_answers} answers a round was used up"
    return principle.happened(Event(kind="rejected", round=round_number, by="gate", reason=reason), status="rejected")


def figures(trial: Trial) -> str:
    """The trial in one line."""
    text = (
        f"mends {trial.own.with_it}/{trial.own.total} own failures (without it {trial.own.without}) and "
        f"{trial.others.with_it}/{trial.others.total} others (without it {trial.others.without}); lift "
        f"{paired_difference(lift(trial))}"
    )
    benign = trial.benign
    if benign.total:
        both = benign.without - benign.lost
        text = f"{text}; benign refused {benign.with_it}/{benign.total} ({both} of them without it, too)"
    elif not trial.left:
        text = f"{text}; no benign questions to try"
    return f"{text}; decided with {trial.left} prompts left" if trial.left else text


def _paired(outcomes: Sequence[tuple[bool | None, bool | None]]) -> Paired:
    told = [(without, with_it) for without, with_it in outcomes if without is not None and with_it is not None]
    return Paired(
        total=len(told),
        without=sum(without for without, _ in told),
        with_it=sum(with_it for _, with_it in told),
        gained=sum(with_it and not without for without, with_it in told),
        lost=sum(without and not with_it for without, with_it in told),
    )


def _kinds(paired: Paired) -> tuple[int, int, int]:
    """(gained, lost, the same)."""
    return paired.gained, paired.lost, paired.total - paired.gained - paired.lost
