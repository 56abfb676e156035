"""Where principles stand in the prompt: a short trial on training prompts, before the first round, decides.

Models differ in what they heed: SmolLM2-135M declines 31 of 32 harmful questions with a principle before the question, and one
with the same in the system message (docs/constitution.md).
"""

import random
from collections.abc import Sequence
from typing import get_args

from iteralign.activity import within
from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import Place, PromptForm
from iteralign.records import Paired, PlaceTrial, Principle, RedTeamPrompt, Response, Revision, Sampling, Verdict
from iteralign.steps.judge import judge, unacceptable
from iteralign.steps.respond import Told, answers, nobody, respond
from iteralign.steps.revise import choose, revise
from iteralign.steps.verify import recites, stands_in
from iteralign.text.refusals import is_refusal
from iteralign.text.similarity import Similarity, by_words

PROMPTS = 24
"""Red-team prompts, and as many benign ones, that are answered in each place at most."""


def try_places(
    target: Target,
    oracle: Judge,
    form: PromptForm,
    prompts: Sequence[RedTeamPrompt],
    benign: Sequence[RedTeamPrompt],
    principles: Sequence[Principle],
    sampling: Sampling,
    *,
    max_principles: int,
    max_refusals: float,
    min_fixed: float,
    must_decline: bool,
    seed: int,
    similarity: Similarity = by_words,
    told: Told = nobody,
) -> list[PlaceTrial]:
    """A trial for each place that the form has, on a sample of `prompts` and of the `benign` ones.

    Chosen is the place that mends most among those that the gate would let a principle pass in: benign refusals rise by
    `max_refusals` at most, and a share of `min_fixed` of the failures is mended. Where there is none, it is the one whose share
    mended exceeds that rise by most. Of equal ones the first.
    """
    draw = random.Random(f"{seed} places")
    asked = draw.sample(list(prompts), min(len(prompts), PROMPTS))
    harmless = draw.sample(list(benign), min(len(benign), PROMPTS))
    with within("without principles"):
        failures = unacceptable(judge(oracle, respond(target, form, asked, sampling, told)))
        answered = respond(target, form, harmless, sampling)
    trials = []
    for place in form.places():
        placed = form.placing(place)
        with within(f"{place}"):
            revisions = revise(
                *(target, placed, failures, principles, sampling),
                max_principles=max_principles,
                similarity=similarity,
                told=told,
            )
            mended = _mended(oracle, revisions, placed.human_turn.examples, must_decline)
            given = _under(target, placed, answered, principles, sampling, max_principles, similarity)
        trials.append(
            PlaceTrial(place=place, failures=_gained(len(failures), mended), benign=_refused(answered, given))
        )
    best = max(trials, key=lambda trial: _merit(trial, max_refusals, min_fixed))
    return [trial.model_copy(update={"chosen": trial is best}) for trial in trials]


def chosen_place(trials: Sequence[PlaceTrial]) -> Place:
    """Where the run puts principles."""
    named = next(trial.place for trial in trials if trial.chosen)
    return next(place for place in get_args(Place) if place == named)


def _under(
    target: Target,
    form: PromptForm,
    harmless: Sequence[Response],
    principles: Sequence[Principle],
    sampling: Sampling,
    limit: int,
    similarity: Similarity,
) -> list[Response]:
    """The answers to benign questions, each under the principles that a failure on it would get."""
    prompts = [one.prompt for one in harmless]
    fitting = [choose(principles, Verdict(response=one, label="acceptable"), limit, similarity) for one in harmless]
    inputs = [form.unjudged().render(*each) for each in zip(prompts, fitting, strict=True)]
    return answers(target, form, prompts, inputs, sampling)


def _mended(oracle: Judge, revisions: Sequence[Revision], examples: str, must_decline: bool) -> int:
    """How many are acceptable answers; that many are alike does not matter here."""
    verdicts = judge(oracle, [one.response for one in revisions])
    fit = [
        not (recites(one) or stands_in(one, examples)) and (not must_decline or is_refusal(one.response.text))
        for one in revisions
    ]
    return sum(verdict.label == "acceptable" and fits for verdict, fits in zip(verdicts, fit, strict=True))


def _gained(total: int, with_it: int) -> Paired:
    """None of the failures counted without principles."""
    return Paired(total=total, with_it=with_it, gained=with_it)


def _refused(without: Sequence[Response], with_it: Sequence[Response]) -> Paired:
    pairs = [(is_refusal(one.text), is_refusal(other.text)) for one, other in zip(without, with_it, strict=True)]
    return Paired(
        total=len(pairs),
        without=sum(before for before, _ in pairs),
        with_it=sum(after for _, after in pairs),
        gained=sum(after and not before for before, after in pairs),
        lost=sum(before and not after for before, after in pairs),
    )


def _merit(trial: PlaceTrial, max_refusals: float, min_fixed: float) -> tuple[bool, float]:
    mended = trial.failures.with_it / max(1, trial.failures.total)
    rise = (trial.benign.gained - trial.benign.lost) / max(1, trial.benign.total)
    passes = rise <= max_refusals and mended >= min_fixed
    return passes, mended if passes else mended - rise
