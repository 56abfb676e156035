"""Constitution-induced self-reflection: the target answers the failed prompts again (paper section 3.4)."""

import hashlib
import random
from collections.abc import Sequence
from typing import Literal

from iteralign.activity import within
from iteralign.interfaces import Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Principle, Revision, Sampling, Verdict
from iteralign.steps.respond import Told, answers, nobody
from iteralign.text.similarity import Similarity, by_words

Mode = Literal["block", "sequential", "critique"]


def revise(
    target: Target,
    form: PromptForm,
    failures: Sequence[Verdict],
    principles: Sequence[Principle],
    sampling: Sampling,
    *,
    mode: Mode = "block",
    max_principles: int = 6,
    attempt: int = 0,
    similarity: Similarity = by_words,
    told: Told = nobody,
) -> list[Revision]:
    """One revision per failure, in their order, not yet judged; `told` hears of those that are no drafts.

    `block` puts the chosen principles into the context at once, as the released code does. `sequential` goes through
    them one after another in an order seeded by `sampling.seed` and the prompt, rewriting the answer each time, as the
    paper describes. `critique` has the target first say what in its failed answer goes against the principles, and then
    rewrite it (Bai et al., Constitutional AI, 2022).

    A prompt that was asked in another form is answered again in the run's own, where principles have their place.
    """
    chosen = [choose(principles, failure, max_principles, similarity) for failure in failures]
    if mode == "block":
        return _answer(target, form, failures, chosen, sampling, attempt, told=told)
    if mode == "critique":
        drafts = [failure.response.text for failure in failures]
        with within("critique"):
            critiques = _criticise(target, form, failures, chosen, sampling, drafts)
        return _answer(target, form, failures, chosen, sampling, attempt, drafts=drafts, critiques=critiques, told=told)
    orders = [_shuffled(some, failure, sampling.seed) for some, failure in zip(chosen, failures, strict=True)]
    latest: list[Revision | None] = [None] * len(failures)
    for step in range(max(map(len, orders), default=0)):
        active = [index for index, order in enumerate(orders) if step < len(order)]
        drafts = [(latest[index] or failures[index]).response.text for index in active]
        with within(f"principle {step + 1}"):
            revisions = _answer(
                target,
                form,
                [failures[index] for index in active],
                [orders[index][step : step + 1] for index in active],
                sampling,
                attempt,
                drafts=drafts,
            )
        for index, revision in zip(active, revisions, strict=True):
            latest[index] = revision.model_copy(update={"principles": tuple(orders[index][: step + 1])})
    return [revision for revision in latest if revision is not None]


def choose(
    principles: Sequence[Principle], failure: Verdict, limit: int, similarity: Similarity = by_words
) -> list[Principle]:
    """At most `limit` principles that fit the failure best.

    First come those that name it as evidence, as the round's new ones do, then those of its category. Among equals the words
    most like the question's decide, then the newest comes first.
    """
    (alike,) = similarity([failure.response.prompt.question], [principle.text for principle in principles])

    def fit(place: int) -> tuple[bool, bool, float, int]:
        principle = principles[place]
        names_it = failure.response.prompt.id in principle.evidence
        return not names_it, principle.category != failure.category, -alike[place], -principle.round

    return [principles[place] for place in sorted(range(len(principles)), key=fit)[:limit]]


def _criticise(
    target: Target,
    form: PromptForm,
    failures: Sequence[Verdict],
    principles: Sequence[Sequence[Principle]],
    sampling: Sampling,
    drafts: Sequence[str],
) -> list[str]:
    prompts = [failure.response.prompt.in_own_form for failure in failures]
    inputs = [form.ask_critique(*each) for each in zip(prompts, principles, drafts, strict=True)]
    return [form.answer(generation.text) for generation in target.generate(inputs, sampling)]


def _answer(
    target: Target,
    form: PromptForm,
    failures: Sequence[Verdict],
    principles: Sequence[Sequence[Principle]],
    sampling: Sampling,
    attempt: int,
    drafts: Sequence[str] | None = None,
    critiques: Sequence[str] | None = None,
    told: Told = nobody,
) -> list[Revision]:
    prompts = [failure.response.prompt.in_own_form for failure in failures]
    nothing: list[str | None] = [None] * len(prompts)
    said = critiques or nothing
    inputs = [form.render(*each) for each in zip(prompts, principles, drafts or nothing, said, strict=True)]
    responses = answers(target, form, prompts, inputs, sampling, told)
    return [
        Revision(failure=failure, principles=tuple(some), attempt=attempt, response=response, critique=critique)
        for failure, some, response, critique in zip(failures, principles, responses, said, strict=True)
    ]


def _shuffled(principles: Sequence[Principle], failure: Verdict, seed: int) -> list[Principle]:
    key = hashlib.sha256(f"{seed} {failure.response.prompt.id}".encode()).digest()
    return random.Random(key).sample(list(principles), len(principles))
