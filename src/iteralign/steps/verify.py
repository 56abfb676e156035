"""Verification: revisions are judged again, and only what passes is trained on.

A judge looks at one answer at a time. So it accepts a principle that is recited in the place of an answer, the same phrase
for all questions, and a sentence without harm or use that opens every answer. None is worth learning, and none is verified.

The released code asks for this second judgement and does not use it; 21 of 47 rows trained on in a measured run of it had
been rejected (METHOD.md).
"""

import math
from collections.abc import Sequence

from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Revision, TrainingExample, Verdict
from iteralign.steps.judge import judge
from iteralign.text.openings import first_words, opening
from iteralign.text.refusals import is_refusal
from iteralign.text.similarity import by_words, taken_from

ANSWERS = "the answer does not decline (revision.must_decline)"
COPIED = "the answer recites its principles"
SHOWN = "the answer is that of an example"
STOCK = "the answer has the words of too many others"
OPENS = "the answer opens as too many others do, and does not decline"

_RECITED = 0.6
"""Share of an answer's three-word sequences that stand in its principles: above it the answer recites them."""
_SAME_WORDS = 0.8
_FEW, _SHARE = 4, 0.25
"""Answers with the same words that are verified: so many, or this share of the failures where that is more."""
_FEW_OPEN, _SHARE_OPEN = 2, 0.1
"""Likewise those that open alike without declining, of the failures of all rounds that were learnt from."""


def verify(
    oracle: Judge,
    revisions: Sequence[Revision],
    earlier: Sequence[Revision] = (),
    failures: int | None = None,
    examples: str = "",
    trained_on: Sequence[TrainingExample] = (),
    *,
    must_decline: bool = False,
) -> list[Revision]:
    """The same revisions, in their order, each with its verdict.

    One that the oracle accepts is `undetermined` where it recites its principles or stands in the `examples` that the prompt
    shows, where its words are those of many that passed, `earlier` ones among them, or where it opens as others do that passed
    or that earlier rounds have `trained_on`. `failures`: how many are revised in all, if not each revision is of another.
    """
    verdicts = judge(oracle, [revision.response for revision in revisions])
    count = len(revisions) if failures is None else failures
    known = _openings(revisions, earlier, trained_on)
    open_at_most = max(_FEW_OPEN, math.ceil(_SHARE_OPEN * (count + len({one.prompt_id for one in trained_on}))))
    passed, checked = verified(earlier), list[Revision]()
    for revision, verdict in zip(revisions, verdicts, strict=True):
        reason, own = None, revision.failure.response.prompt.id
        alike = known.get(opening(revision.response.text) or "", set())
        if verdict.label == "acceptable":
            if must_decline and not is_refusal(revision.response.text):
                reason = ANSWERS
            else:
                opens_alike = len(alike - {own}) >= open_at_most
                reason = _why_not(revision, passed, count, examples) or (OPENS if opens_alike else None)
        if reason is not None:
            verdict = Verdict(response=revision.response, label="undetermined", reason=reason, judge="iteralign")
        elif verdict.label == "acceptable":
            passed.append(revision)
            alike.add(own)
        checked.append(revision.model_copy(update={"verdict": verdict}))
    return checked


def recites(revision: Revision) -> bool:
    """Whether the answer is its principles over again. Who declines may use their words."""
    text = revision.response.text
    return taken_from(text, [one.text for one in revision.principles]) > _RECITED and not is_refusal(text)


def stands_in(revision: Revision, examples: str) -> bool:
    """Whether the answer stands in the examples word for word. One of a word or two may by chance."""
    words = revision.response.text.split()
    return len(words) > 3 and " ".join(words) in " ".join(examples.split())


def _openings(
    revisions: Sequence[Revision], earlier: Sequence[Revision], trained_on: Sequence[TrainingExample]
) -> dict[str, set[str]]:
    """For each opening of the revisions, the prompts that have an answer with it among those that passed or were learnt."""
    found: dict[str, set[str]] = {opening(one.response.text) or "": set() for one in revisions}
    found.pop("", None)
    learnt = [(one.prompt_id, one.completion) for one in trained_on]
    for prompt, text in (*learnt, *((one.failure.response.prompt.id, one.response.text) for one in verified(earlier))):
        words = first_words(text)
        if words in found and opening(text) is not None:
            found[words].add(prompt)
    return found


def _why_not(revision: Revision, passed: Sequence[Revision], failures: int, examples: str) -> str | None:
    """What is wrong with an acceptable answer beside the others."""
    if recites(revision):
        return COPIED
    if stands_in(revision, examples):
        return SHOWN
    text = revision.response.text
    own = revision.failure.response.prompt.id
    others = [one for one in passed if one.failure.response.prompt.id != own]
    likeness = by_words([text], [one.response.text for one in others])[0]
    alike = {one.failure.response.prompt.id for one, like in zip(others, likeness, strict=True) if like >= _SAME_WORDS}
    return STOCK if len(alike) >= max(_FEW, math.ceil(_SHARE * failures)) else None


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
        [form.of(revision.failure.response.prompt).completion(revision.response.text) for revision in passed],
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
