"""The scoreboard of a run: measures the fixed held-out sets after trained rounds and lets the guard rails decide."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from iteralign.algorithm import Keeper
from iteralign.errors import DataError
from iteralign.interfaces import Oracle, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint, RedTeamPrompt, Sampling, TextScore, Verdict
from iteralign.rundir import layout
from iteralign.scoreboard.guard_rails import GuardRails, Intervention, Limits
from iteralign.scoreboard.measurement import Measurement, with_numbers
from iteralign.scoreboard.metrics import RoundMetrics
from iteralign.steps.judge import judge
from iteralign.steps.respond import respond
from iteralign.text.degenerate import is_degenerate
from iteralign.text.refusals import is_refusal


@dataclass(frozen=True)
class Texts:
    """What the capability check predicts: `completions` after `inputs`."""

    ids: Sequence[str]
    inputs: Sequence[str]
    completions: Sequence[str]


@dataclass
class Scoreboard:
    """`start` once, `admit` after each training, `close` after each round: called in the order of the rounds, also of those
    that an earlier attempt has done, so that all decisions are made again and come out the same."""

    target: Target
    oracle: Oracle
    form: PromptForm
    sampling: Sampling
    held_out: Sequence[RedTeamPrompt]
    benign: Sequence[RedTeamPrompt]
    keeper: Callable[[int], Keeper]
    rounds: int
    every: int
    capability: str | None
    """`own`, a text file, or None; see MeasureSettings."""
    limits: Limits

    def start(self, keep: Keeper, base: Checkpoint) -> RoundMetrics:
        """Measure the base model."""
        self._texts: Texts | None = None
        self._trainings = 0
        self._measured: Measurement | None = None
        """By `admit`, for the round's row."""
        now = self._measure(keep, base)
        self._rails = GuardRails(self.limits, now)
        self._in_use = now
        return with_numbers(RoundMetrics(round=-1), now, ())

    def admit(self, number: int, checkpoint: Checkpoint) -> Checkpoint:
        """The weights to go on from after a training: `checkpoint`, or the best ones where a guard rail trips."""
        if checkpoint.problem is not None:
            return checkpoint
        self._trainings += 1
        if self._trainings % self.every and number < self.rounds - 1:
            return checkpoint
        self.target.load(checkpoint)
        self._measured = self._measure(self.keeper(number), checkpoint)
        return self._rails.admit(number, self._measured)

    def close(self, row: RoundMetrics, checkpoint: Checkpoint) -> tuple[RoundMetrics, Checkpoint]:
        """The round's row with what was measured, and the weights to go on from. Weights that reach the last round without
        having been measured in it are measured then."""
        number = row.round
        if self._measured is None and number == self.rounds - 1 and checkpoint.kind != "base":
            self._measured = self._measure(self.keeper(number), checkpoint)
            if checkpoint.path != self._in_use.checkpoint.path:
                checkpoint = self._rails.admit(number, self._measured)
                row = row.model_copy(update={"problem": checkpoint.problem})
        now, self._measured = self._measured, None
        if now is not None:
            earlier = [self._rails.base]
            if self._in_use.round not in (now.round, -1):
                earlier.append(self._in_use)
            row = with_numbers(row, now, earlier)
            self._in_use = self._rails.best if checkpoint.problem is not None else now
        weights = -1 if checkpoint.round is None else checkpoint.round
        return row.model_copy(update={"weights": weights, "stopped": self.stopped}), checkpoint

    @property
    def stopped(self) -> str | None:
        """Why the run should end now; None while it should go on."""
        return self._rails.stopped

    @property
    def interventions(self) -> list[Intervention]:
        """What the guard rails did so far."""
        return self._rails.interventions

    @property
    def best(self) -> Checkpoint:
        """The weights that a rollback would go back to."""
        return self._rails.best.checkpoint

    def _measure(self, keep: Keeper, checkpoint: Checkpoint) -> Measurement:
        held_out = keep(layout.HELD_OUT_VERDICTS, self._judged, self.held_out)
        benign = keep(layout.BENIGN_VERDICTS, self._judged, self.benign)
        if self._texts is None:
            self._texts = own_texts(self.form, benign) if self.capability == "own" else file_texts(self.capability)
        scores: list[TextScore] = []
        if self._texts.ids and self.target.can_score:
            scores = keep(layout.CAPABILITY, scored, self.target, self._texts)
        return Measurement(checkpoint, held_out, benign, scores)

    def _judged(self, prompts: Sequence[RedTeamPrompt]) -> list[Verdict]:
        if not prompts:
            return []
        return judge(self.oracle, respond(self.target, self.form, prompts, self.sampling))


def scored(target: Target, texts: Texts) -> list[TextScore]:
    """The loss of each text; those without a token are left out."""
    scores = target.score(texts.inputs, texts.completions)
    return [TextScore(id=key, loss=-one) for key, one in zip(texts.ids, scores, strict=True) if math.isfinite(one)]


def own_texts(form: PromptForm, benign: Sequence[Verdict]) -> Texts:
    """The base model's answers to the benign prompts, without those that are refusals or degenerate."""
    good = [
        verdict.response
        for verdict in benign
        if not is_refusal(verdict.response.text) and not is_degenerate(verdict.response.text)
    ]
    ids, inputs = [response.prompt.id for response in good], [response.input for response in good]
    return Texts(ids, inputs, [form.completion(response.text) for response in good])


def file_texts(path: str | None) -> Texts:
    """The paragraphs of a text file (separated by blank lines), each by itself. Raises DataError."""
    if path is None:
        return Texts((), (), ())
    try:
        paragraphs = [part.strip() for part in Path(path).read_text(encoding="utf-8").split("\n\n") if part.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"measure.capability: {path} can't be read as text: {error}.") from error
    if not paragraphs:
        raise DataError(f"measure.capability: {path} holds no text.")
    return Texts([str(number) for number in range(len(paragraphs))], [""] * len(paragraphs), paragraphs)
