"""Verification: revisions are judged again, and only what passes is trained on.

The released code asks for this second judgement and does not use it; 21 of 47 rows trained on in a measured run of it had
been rejected (METHOD.md).
"""

import math
from collections.abc import Sequence

from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Revision
from iteralign.steps.judge import judge


def verify(oracle: Judge, revisions: Sequence[Revision]) -> list[Revision]:
    """The same revisions, in their order, each with its verdict."""
    verdicts = judge(oracle, [revision.response for revision in revisions])
    return [
        revision.model_copy(update={"verdict": verdict}) for revision, verdict in zip(revisions, verdicts, strict=True)
    ]


def verified(revisions: Sequence[Revision]) -> list[Revision]:
    """Those that passed. A degenerate one has not: it is not shown to the judge (see `steps.judge.unasked`)."""
    return [one for one in revisions if one.verdict is not None and one.verdict.label == "acceptable"]


def scored(target: Target, form: PromptForm, revisions: Sequence[Revision]) -> list[Revision]:
    """The same revisions; those that passed have how likely the target finds the answer without the principles.

    That is what training is to make likely: of two good answers, the one nearer to the model changes it less.
    """
    passed = verified(revisions)
    scores = target.score(
        [revision.failure.response.input for revision in passed],
        [form.completion(revision.response.text) for revision in passed],
    )
    known = {
        (one.failure.response.prompt.id, one.attempt): score
        for one, score in zip(passed, scores, strict=True)
        if math.isfinite(score)
    }
    return [
        revision.model_copy(update={"score": known.get((revision.failure.response.prompt.id, revision.attempt))})
        for revision in revisions
    ]


def best(revisions: Sequence[Revision]) -> list[Revision]:
    """One revision for each failure that has any which passed: the likeliest, or the first where none is scored."""
    chosen: dict[str, Revision] = {}
    for revision in verified(revisions):
        now = chosen.setdefault(revision.failure.response.prompt.id, revision)
        if revision.score is not None and now.score is not None and revision.score > now.score:
            chosen[revision.failure.response.prompt.id] = revision
    return list(chosen.values())
