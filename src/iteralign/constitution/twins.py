"""Twins: harmless questions that look like failed ones, written by the oracle for each adopted principle.

A model that learns to decline "How do I kill my neighbour?" soon declines "How do I kill weeds?", too. The base model's own
answers to such questions are trained beside the revisions, and later principles are tried on them. Kept is what is known to
wish for no harm, differs in little from its failure, and is near no other benign question and none that is measured on. A
writer of whose questions none is kept for three principles in a row is not asked again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from iteralign.data.split import without_questions_of
from iteralign.data.written import new_questions
from iteralign.interfaces import Judge, Oracle, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint, Principle, RedTeamPrompt, Response, Sampling, Verdict
from iteralign.steps.judge import acceptable, judge
from iteralign.steps.respond import Told, nobody, respond
from iteralign.text.abstentions import says_something
from iteralign.text.refusals import is_refusal
from iteralign.text.similarity import Similarity, by_words

_LEAST_ALIKE = 0.5
"""By words, of a twin and its failure."""
_GIVE_UP = 3  # principles in a row for which nothing was kept


@dataclass
class Twins:
    """Those of a run. Told of every round's, also of those that are read back."""

    oracle: Oracle
    count: int
    """For each principle."""
    known: Sequence[RedTeamPrompt]
    """What no twin may be near: the benign prompts, and all that is measured on."""
    alike: Similarity
    seed: int
    new: list[Response] = field(default_factory=list)
    """The base model's acceptable answers to this round's twins."""
    earlier: list[Response] = field(default_factory=list)
    """To those of the rounds before."""
    _in_vain: int = 0

    def written(self, principles: Sequence[Principle], failures: Sequence[Verdict]) -> list[RedTeamPrompt]:
        """For adopted principles, beside failures of their evidence: a request for each principle, and one for each new
        question whether it wishes for harm."""
        twins, in_vain = list[RedTeamPrompt](), self._in_vain
        for principle in principles:
            failed = self._chosen(principle, failures)
            if not failed or in_vain >= _GIVE_UP:
                continue
            made = self._beside(principle, failed, twins)
            in_vain = 0 if made else in_vain + 1
            twins += made
        return twins

    def add(self, principles: Sequence[Principle], failures: Sequence[Verdict], twins: Sequence[Verdict]) -> None:
        """What came of a round's adopted principles: written and answered now, or read back."""
        written_for = {verdict.response.prompt.principle for verdict in twins}
        for principle in principles:
            if self._chosen(principle, failures):
                self._in_vain = 0 if principle.id in written_for else self._in_vain + 1
        self.known = [*self.known, *(verdict.response.prompt for verdict in twins)]
        self.earlier += self.new
        given = [one.response for one in acceptable(twins)]
        self.new = [one for one in given if says_something(one.text) and not is_refusal(one.text)]

    def answered(self) -> list[Response]:
        """All that are fit to train on."""
        return [*self.earlier, *self.new]

    def _chosen(self, principle: Principle, failures: Sequence[Verdict]) -> list[RedTeamPrompt]:
        """As many failures of its evidence as twins are wanted; each again where there are fewer."""
        own = [one.response.prompt.in_own_form for one in failures if one.response.prompt.id in principle.evidence]
        draw = random.Random(f"{self.seed} twins {principle.id}")
        failed = draw.sample(own, len(own))
        return [failed[place % len(failed)] for place in range(self.count)] if failed else []

    def _beside(
        self, principle: Principle, failed: Sequence[RedTeamPrompt], before: Sequence[RedTeamPrompt]
    ) -> list[RedTeamPrompt]:
        written = self.oracle.write_twins(principle, failed)
        near = [
            text if text and by_words([text], [one.question])[0][0] >= _LEAST_ALIKE else None
            for one, text in zip(failed, written, strict=True)
        ]
        fresh = new_questions(near, [one.question for one in (*self.known, *before)], self.alike)
        pairs = [(one, text) for one, text in zip(failed, fresh, strict=True) if text is not None]
        wishes = self.oracle.wish_for_harm([text for _, text in pairs]) if pairs else []
        twins = [
            _twin(principle, one, text, place)
            for place, ((one, text), harmful) in enumerate(zip(pairs, wishes, strict=True))
            if harmful is False
        ]
        return without_questions_of(twins, failed)


def answer_and_judge(
    target: Target,
    oracle: Judge,
    form: PromptForm,
    base: Checkpoint,
    weights: Checkpoint,
    twins: Sequence[RedTeamPrompt],
    sampling: Sampling,
    told: Told = nobody,
) -> list[Verdict]:
    """The base model's answers, judged. The target has `weights` again afterwards."""
    target.load(base)
    responses = respond(target, form, twins, sampling, told) if twins else []
    target.load(weights)
    return judge(oracle, responses)


def _twin(principle: Principle, failed: RedTeamPrompt, text: str, place: int) -> RedTeamPrompt:
    return RedTeamPrompt(
        id=f"twin-{principle.id}-{place}",
        question=text,
        source="twin",
        category=failed.category,
        benign=True,
        parents=(failed.id,),
        principle=principle.id,
    )
