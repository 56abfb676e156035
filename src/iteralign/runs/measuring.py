"""When a run measures, and on what."""

from collections.abc import Callable, Sequence

from iteralign import layout
from iteralign.lookahead.early import EarlyJudge
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint, RedTeamPrompt, Verdict
from iteralign.rundir.stages import Stages
from iteralign.runs.parts import Parts
from iteralign.scoreboard.measurement import Measurement
from iteralign.settings.settings import Settings
from iteralign.steps.measure import CapabilityTexts, answers_as_texts, file_texts, measure, predict
from iteralign.steps.respond import answers


class Measuring:
    """The fixed held-out sets of a run. `first` comes first: the capability check may be on the base model's answers."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        early: EarlyJudge,
        stages: Callable[[int], Stages],
        held_out: Sequence[RedTeamPrompt] = (),
        benign: Sequence[RedTeamPrompt] = (),
    ) -> None:
        self.settings = settings.measure
        self.sampling = settings.sampling
        self.parts = parts
        self._form = parts.form
        self.early = early
        self.stages = stages
        self.held_out = held_out
        self.benign = benign
        self._texts: CapabilityTexts | None = None
        self._trainings = 0
        self._measured = set[str]()

    def first(self, base: Checkpoint, form: PromptForm) -> Measurement:
        """Of the base model. `form` puts principles where they stand in this run."""
        self._form = form
        return self.of(-1, base)

    def after(self, number: int, weights: Checkpoint, trained: bool, last: bool) -> Measurement | None:
        """After every so many trainings, and after the last round; None where it is not due, or these weights were measured."""
        self._trainings += trained
        due = last or (trained and self._trainings % self.settings.every == 0)
        return self.of(number, weights) if due and weights.path not in self._measured else None

    def of(self, number: int, weights: Checkpoint) -> Measurement:
        """The held-out prompts answered and judged, and the capability check."""
        self._measured.add(weights.path)
        self.parts.target.load(weights)
        keep, given = self.stages(number), (self.parts.target, self.early, self.parts.form)
        held_out = keep(layout.HELD_OUT_VERDICTS, measure, *given, self.held_out, self.sampling, self.early.ask)
        benign = keep(layout.BENIGN_VERDICTS, measure, *given, self.benign, self.sampling, self.early.ask)
        if self._texts is None:
            self._texts = self._capability_texts(benign)
        known = self._texts.ids and self.parts.target.can_score
        predicted = keep(layout.CAPABILITY, predict, self.parts.target, self._texts) if known else []
        return Measurement(weights, held_out, benign, predicted, number)

    def _capability_texts(self, benign: Sequence[Verdict]) -> CapabilityTexts:
        """`benign`: the base model's, judged. Where principles stand among examples, its own answers are given behind these, as
        those that are trained on are."""
        if self.settings.capability != "own":
            return file_texts(self.settings.capability)
        own = [verdict.response for verdict in benign]
        if self._form.human_turn.answering and self.parts.target.can_score:
            inputs = [self._form.render_helping(prompt) for prompt in self.benign]
            given = self.parts.target, self._form, self.benign, inputs, self.sampling
            own = self.stages(-1)(layout.SHOWN, answers, *given)
        return answers_as_texts(self._form, own)
