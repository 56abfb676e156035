"""What principles are tried on, and the answers to it: each question is put to the target once, or not at all where its
answer is there."""

from collections.abc import Sequence
from dataclasses import dataclass

from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Principle, RedTeamPrompt, Response, Sampling, Verdict
from iteralign.steps.judge import judge
from iteralign.steps.respond import Told, answers, nobody
from iteralign.text.refusals import is_refusal

_OPENING = 48
"""Tokens of an answer that tell whether it declines: of 900 answers to XSTest, the first 200 characters told otherwise than
the whole of 2."""
_OTHER_SEED = 1_000_003  # a sampled failure must not be compared with itself

Question = tuple[RedTeamPrompt, Principle | None]
"""A prompt, with a principle in the context or without one."""


@dataclass(frozen=True)
class Bench:
    """What principles are tried on, in one round."""

    target: Target
    oracle: Judge
    form: PromptForm
    failures: Sequence[Verdict]
    """The round's, of the weights that the target has."""
    earlier: Sequence[Verdict]
    """Those of rounds before."""
    benign: Sequence[Response]
    """The base model's acceptable answers to benign training prompts."""
    sampling: Sampling
    must_decline: bool
    """Whether an answer to a red-team prompt counts only where it declines."""
    told: Told = nobody
    """Hears of each answer that will be judged."""
    twins: Sequence[Response] = ()
    """The base model's acceptable answers to harmless questions that look like failures of earlier rounds."""
    base: bool = False
    """Whether the target has the base model's weights still, so that `benign` and `twins` are its own answers."""


class Outcomes:
    """Whether each answer counts: an acceptable one, or to a benign prompt a refusal. None: nobody could tell."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.made = 0
        """Answers that the target has given."""
        self.again = bench.sampling.model_copy(update={"seed": bench.sampling.seed + _OTHER_SEED})
        self._known: dict[tuple[str, str | None], bool | None] = {}
        # What the same weights answered to the same text need not be asked again, if they don't sample.
        self._there: dict[str, bool | None] = {}
        if bench.sampling.temperature == 0:
            self._there = {failure.response.input: False for failure in bench.failures}
            self._there |= {one.input: _refused(one) for one in (*bench.benign, *bench.twins) if bench.base}

    def of(self, prompt: RedTeamPrompt, principle: Principle | None) -> bool | None:
        """Of an answer that was asked for."""
        return self._known[key(prompt, principle)]

    def ask(self, questions: Sequence[Question]) -> None:
        """Have the target answer those whose answers are not there, each kind in one batch, and judge them."""
        missing: dict[tuple[str, str | None], tuple[RedTeamPrompt, str]] = {}
        for prompt, principle in questions:
            asked = key(prompt, principle)
            if asked in self._known or asked in missing:
                continue
            own = prompt.in_own_form
            text = self._rendered(own, principle)
            if principle is None and text in self._there:
                self._known[asked] = self._there[text]
            else:
                missing[asked] = own, text
        for benign, answered in ((False, self._failures), (True, self._benign)):
            some = {asked: given for asked, given in missing.items() if given[0].benign == benign}
            if some:
                self.made += len(some)
                prompts, inputs = [prompt for prompt, _ in some.values()], [text for _, text in some.values()]
                self._known |= dict(zip(some, answered(prompts, inputs), strict=True))

    def _failures(self, prompts: Sequence[RedTeamPrompt], inputs: Sequence[str]) -> list[bool | None]:
        bench = self.bench
        responses = answers(bench.target, bench.form, prompts, inputs, self.again, bench.told)
        return [_acceptable(verdict, bench.must_decline) for verdict in judge(bench.oracle, responses)]

    def _benign(self, prompts: Sequence[RedTeamPrompt], inputs: Sequence[str]) -> list[bool | None]:
        bench = self.bench
        most = self.again.max_new_tokens if bench.form.thinks else min(self.again.max_new_tokens, _OPENING)
        opening = self.again.model_copy(update={"max_new_tokens": most})
        return [_refused(one) for one in answers(bench.target, bench.form, prompts, inputs, opening)]

    def _rendered(self, prompt: RedTeamPrompt, principle: Principle | None) -> str:
        form = self.bench.form.unjudged() if prompt.benign else self.bench.form
        return form.render(prompt, [] if principle is None else [principle])


def key(prompt: RedTeamPrompt, principle: Principle | None) -> tuple[str, str | None]:
    """What tells a question from others: the ids."""
    return prompt.id, None if principle is None else principle.id


def _acceptable(verdict: Verdict, must_decline: bool) -> bool | None:
    if verdict.label == "undetermined":
        return None
    return verdict.label == "acceptable" and (not must_decline or is_refusal(verdict.response.text))


def _refused(response: Response) -> bool | None:
    return None if response.finish == "prompt_too_long" else is_refusal(response.text)
