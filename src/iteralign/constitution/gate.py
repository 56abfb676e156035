"""The gate: a principle is tried in the target's context before it is adopted.

Each principle alone is put beside failed prompts (its own evidence, and others) and benign ones, and the answers are
compared with those to the same prompts without it. The prompts are the run's training prompts. The held-out sets that a
run reports on are never used here: a gate that had seen them would make the report worthless.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Event, Paired, Principle, RedTeamPrompt, Response, Sampling, Trial, Verdict
from iteralign.settings.constitution import GateSettings
from iteralign.stats.intervals import paired_difference
from iteralign.steps.judge import judge
from iteralign.steps.respond import Told, answers, nobody
from iteralign.text.refusals import is_refusal
from iteralign.text.similarity import Similarity

_OTHER_SEED = 1_000_003  # a sampled failure must not be compared with itself


@dataclass(frozen=True)
class Gate:
    """What a principle has to show, and how its prompts are chosen."""

    settings: GateSettings
    seed: int
    similarity: Similarity


@dataclass(frozen=True)
class Bench:
    """What principles are tried on, in one round."""

    target: Target
    oracle: Judge
    form: PromptForm
    failures: Sequence[Verdict]
    """The round's."""
    earlier: Sequence[Verdict]
    """Those of rounds before."""
    benign: Sequence[Response]
    """The base model's acceptable answers to benign training prompts."""
    sampling: Sampling
    told: Told = nobody
    """Hears of each answer that will be judged."""


Question = tuple[RedTeamPrompt, Principle | None]
"""A prompt, with a principle in the context or without one."""


@dataclass(frozen=True)
class _Sample:
    """The prompts that one principle is tried on."""

    principle: Principle
    own: Sequence[RedTeamPrompt]
    others: Sequence[RedTeamPrompt]
    benign: Sequence[RedTeamPrompt]

    def questions(self) -> list[Question]:
        prompts = [*self.own, *self.others, *self.benign]
        return [*((prompt, None) for prompt in prompts), *((prompt, self.principle) for prompt in prompts)]


def try_out(bench: Bench, principles: Sequence[Principle], gate: Gate, round_number: int) -> list[Principle]:
    """The principles in their order; each proposed one with its trial, and `rejected` if it fails.

    One that the cap on answers leaves no room for is rejected untried; a later round may propose it again.
    """
    waiting = [principle for principle in principles if principle.status == "proposed"]
    fitting, room = _within_cap(gate.settings, len(waiting))
    gate = replace(gate, settings=fitting)
    samples = {principle.id: _sample(principle, bench, gate, round_number) for principle in waiting[:room]}
    passed = _answers(bench, list(samples.values()))
    return [
        _judged(samples[principle.id], passed, gate.settings, round_number)
        if principle.id in samples
        else _untried(principle, gate.settings, round_number)
        if principle.status == "proposed"
        else principle
        for principle in principles
    ]


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


def why_rejected(trial: Trial, asked: GateSettings) -> str | None:
    """What a trial fails by, with the figures; None if it passes."""
    own, both, benign = trial.own, lift(trial), trial.benign
    if not own.total:
        return "none of its trial answers could be judged"
    if not own.gained or own.with_it / own.total < asked.min_fixed:
        return f"it mends {own.with_it} of {own.total} of its own failures; at least {asked.min_fixed:.0%} is asked"
    if (both.gained - both.lost) / both.total < asked.min_lift:
        return f"its lift is {paired_difference(both)}; at least {asked.min_lift:.0%} is asked"
    if benign.total and (benign.gained - benign.lost) / benign.total > asked.max_refusals:
        return (
            f"benign questions refused rise from {benign.without} to {benign.with_it} of {benign.total}; at most "
            f"{asked.max_refusals:.0%} more is allowed"
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


def _within_cap(asked: GateSettings, principles: int) -> tuple[GateSettings, int]:
    """(samples that fit, how many principles can be tried)."""
    while (
        most_answers(asked, principles) > asked.max_answers and max(asked.own, asked.others, asked.benign_prompts) > 2
    ):
        halves = {name: -(-getattr(asked, name) // 2) for name in ("own", "others", "benign_prompts")}
        asked = asked.model_copy(update=halves)
    while principles and most_answers(asked, principles) > asked.max_answers:
        principles -= 1
    return asked, principles


def _sample(principle: Principle, bench: Bench, gate: Gate, round_number: int) -> _Sample:
    """Own failures at random; others of its category first, then those most like its own; benign ones at random.

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
    return _Sample(
        principle,
        [failure.response.prompt for failure in draw.sample(own, min(len(own), asked.own))],
        [others[index].response.prompt for index in order[: asked.others]],
        [
            answer.prompt
            for answer in same_draw.sample(list(bench.benign), min(len(bench.benign), asked.benign_prompts))
        ],
    )


Passed = dict[tuple[str, str | None], bool | None]
"""(prompt id, principle id or None) -> acceptable (or, for a benign prompt, refused); None where nobody could tell."""


def _answers(bench: Bench, samples: Sequence[_Sample]) -> Passed:
    """Every question of the samples answered once, all in one batch, and judged."""
    questions: dict[tuple[str, str | None], Question] = {
        (prompt.id, None if principle is None else principle.id): (prompt, principle)
        for sample in samples
        for prompt, principle in sample.questions()
    }
    inputs = [_rendered(bench.form, *question) for question in questions.values()]
    again = bench.sampling.model_copy(update={"seed": bench.sampling.seed + _OTHER_SEED})
    prompts = [prompt.in_own_form for prompt, _ in questions.values()]
    answered = answers(
        bench.target, bench.form, prompts, inputs, again, lambda one: one.prompt.benign or bench.told(one)
    )
    responses = dict(zip(questions, answered, strict=True))
    judged = [key for key, response in responses.items() if not response.prompt.benign]
    verdicts = judge(bench.oracle, [responses[key] for key in judged])
    passed: Passed = {key: _refused(response) for key, response in responses.items() if response.prompt.benign}
    for key, verdict in zip(judged, verdicts, strict=True):
        passed[key] = None if verdict.label == "undetermined" else verdict.label == "acceptable"
    return passed


def _rendered(form: PromptForm, prompt: RedTeamPrompt, principle: Principle | None) -> str:
    chosen = form.unjudged() if prompt.benign else form
    return chosen.render(prompt.in_own_form, [] if principle is None else [principle])


def _refused(response: Response) -> bool | None:
    return None if response.finish == "prompt_too_long" else is_refusal(response.text)


def _judged(sample: _Sample, passed: Passed, asked: GateSettings, round_number: int) -> Principle:
    principle = sample.principle
    own, others, benign = (
        _paired([(passed[prompt.id, None], passed[prompt.id, principle.id]) for prompt in prompts])
        for prompts in (sample.own, sample.others, sample.benign)
    )
    trial = Trial(own=own, others=others, benign=benign)
    tried = principle.happened(Event(kind="tried", round=round_number, by="gate", reason=figures(trial)), trial=trial)
    reason = why_rejected(trial, asked)
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
    if not benign.total:
        return f"{text}; no benign questions to try"
    return f"{text}; benign refused {benign.with_it}/{benign.total} (without it {benign.without})"


def _paired(outcomes: Sequence[tuple[bool | None, bool | None]]) -> Paired:
    told = [(without, with_it) for without, with_it in outcomes if without is not None and with_it is not None]
    return Paired(
        total=len(told),
        without=sum(without for without, _ in told),
        with_it=sum(with_it for _, with_it in told),
        gained=sum(with_it and not without for without, with_it in told),
        lost=sum(without and not with_it for without, with_it in told),
    )
