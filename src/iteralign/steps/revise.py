"""Constitution-induced self-reflection: the target answers the failed prompts again (paper section 3.4)."""

import hashlib
import random
from collections.abc import Sequence
from typing import Literal

from iteralign.interfaces import Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Principle, Revision, Sampling, Verdict
from iteralign.steps.respond import as_response

Mode = Literal["block", "sequential"]


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
) -> list[Revision]:
    """One revision per failure, in their order, not yet judged.

    `block` puts the chosen principles into the context at once, as the released code does. `sequential` goes through
    them one after another in an order seeded by `sampling.seed` and the prompt, rewriting the answer each time, as the
    paper describes.
    """
    chosen = [choose(principles, failure, max_principles) for failure in failures]
    if mode == "block":
        return _answer(target, form, failures, chosen, sampling, attempt)
    orders = [_shuffled(some, failure, sampling.seed) for some, failure in zip(chosen, failures, strict=True)]
    latest: list[Revision | None] = [None] * len(failures)
    for step in range(max(map(len, orders), default=0)):
        active = [index for index, order in enumerate(orders) if step < len(order)]
        drafts = [(latest[index] or failures[index]).response.text for index in active]
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


def choose(principles: Sequence[Principle], failure: Verdict, limit: int) -> list[Principle]:
    """At most `limit` principles, those that name this failure as evidence first, then its category, then the newest."""

    def fit(principle: Principle) -> tuple[bool, bool, int]:
        names_it = failure.response.prompt.id in principle.evidence
        return not names_it, principle.category != failure.category, -principle.round

    return sorted(principles, key=fit)[:limit]


def _answer(
    target: Target,
    form: PromptForm,
    failures: Sequence[Verdict],
    principles: Sequence[Sequence[Principle]],
    sampling: Sampling,
    attempt: int,
    drafts: Sequence[str] | None = None,
) -> list[Revision]:
    prompts = [failure.response.prompt for failure in failures]
    texts: Sequence[str | None] = [None] * len(prompts) if drafts is None else drafts
    inputs = [form.render(*each) for each in zip(prompts, principles, texts, strict=True)]
    generations = target.generate(inputs, sampling)
    return [
        Revision(
            failure=failure,
            principles=tuple(some),
            attempt=attempt,
            response=as_response(form, failure.response.prompt, text, generation),
        )
        for failure, some, text, generation in zip(failures, principles, inputs, generations, strict=True)
    ]


def _shuffled(principles: Sequence[Principle], failure: Verdict, seed: int) -> list[Principle]:
    key = hashlib.sha256(f"{seed} {failure.response.prompt.id}".encode()).digest()
    return random.Random(key).sample(list(principles), len(principles))
