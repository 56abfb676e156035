"""How long a run would take, from a short measurement on this machine with its own model, prompts and oracle.

What is measured: answers for about half a minute, a training of three steps, one verdict. The rest is arithmetic, with a
range: from no failure at all, on a machine twice as free, to nothing but failures with the longest answers.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

from iteralign import layout
from iteralign.activity import Work, told_to
from iteralign.interfaces import Oracle, Target
from iteralign.oracles.budget import read_calls
from iteralign.preflight.cost import Answers, Range
from iteralign.prompts.forms import PromptForm
from iteralign.records import RedTeamPrompt, Response, TrainingExample
from iteralign.runs.build import shares_a_cpu
from iteralign.runs.parts import Parts, build_parts
from iteralign.settings.settings import Settings
from iteralign.steps.respond import respond
from iteralign.text.degenerate import is_degenerate
from iteralign.text.refusals import STOCK

T = TypeVar("T")

SECONDS = 30.0
"""To answer for; the batch that is then under way is finished."""
_FASTER, _SLOWER = 0.5, 1.6
"""What a measured speed may be off by: other batch sizes, a warm or a busy machine."""

_AROUND = 60.0
"""Seconds that a process starts, reads, writes and reports in, at most, beside loading the model."""


@dataclass(frozen=True)
class Speeds:
    """Seconds on this machine."""

    device: str
    loading: float
    """Until the model answers."""
    answers: int
    """Given, in batches as the run makes them."""
    answer: float
    """For one of them."""
    answer_tokens: float
    """Its mean length."""
    training: float
    """For a training, beside its rows."""
    row: float
    """For a row, once."""
    verdict: float
    verdict_tokens: int
    """Read and written for it; 0 where no endpoint was asked."""
    verdict_cost: float | None
    """Dollars; None where the price is unknown."""
    in_turn: bool
    """Answers and verdicts are made on one CPU, so one waits for the other."""


@dataclass(frozen=True)
class Hours:
    """Seconds of a whole run, and what they were measured from."""

    least: float
    most: float
    measurement: Speeds


@dataclass(frozen=True)
class Counts:
    """What a run would do."""

    answers: Answers
    shown: Range
    """Answers that nobody judges: texts of the capability check."""
    revision_texts: int
    """Texts that the target writes for one revision."""
    calls: Range
    """Of the oracle."""
    trainings: int
    rows: Range
    """Of all trainings, once."""
    scored: int
    """Texts of one capability check."""


def measured_hours(settings: Settings, prompts: Sequence[RedTeamPrompt], counts: Counts) -> Hours:
    """Measure on these prompts, and go on from there. Raises IteralignError.

    Nothing is written outside a temporary directory; the verdict is asked for anew, and is in no cache and no account.
    """
    found = measure(settings, prompts)
    return Hours(*estimated(settings, counts, found), found)


def estimated(settings: Settings, counts: Counts, found: Speeds) -> tuple[float, float]:
    """Seconds of a run, least and most."""
    answers, training = counts.answers, settings.training
    longest = min(2.0, settings.sampling.max_new_tokens / max(found.answer_tokens, 1.0))
    ahead = 2 if settings.lookahead.rounds > 1 else 1  # what is answered ahead may be in vain
    given = answers.total() + counts.shown
    texts = given.most + answers.looped.most * (ahead - 1) + answers.revised.most * (counts.revision_texts - 1)
    replicas = settings.cluster.replicas if settings.cluster.address is not None else 1
    answer = found.answer / replicas
    answering = answer * given.least * _FASTER, answer * texts * longest * _SLOWER
    judge = settings.oracle.judge
    at_once = judge.concurrency if judge is not None else 1
    judging = found.verdict * counts.calls.least * _FASTER / at_once, found.verdict * counts.calls.most * _SLOWER
    rows = counts.rows.most * training.epochs * longest + counts.trainings * counts.scored
    learning = (counts.trainings * found.training + rows * found.row) * _SLOWER
    least = answering[0], judging[0]
    return (
        found.loading * _FASTER + (sum(least) if found.in_turn else max(least)),
        _AROUND + 3 * found.loading + answering[1] + judging[1] + learning,
    )


def measure(settings: Settings, prompts: Sequence[RedTeamPrompt]) -> Speeds:
    """With parts built as a run builds them, and one replica of the target. The trained weights are thrown away."""
    with tempfile.TemporaryDirectory(prefix="iteralign-plan-") as place:
        fresh = settings.model_copy(
            update={
                "oracle": settings.oracle.model_copy(update={"cache": False}),
                "cluster": settings.cluster.model_copy(update={"address": None}),
                "training": settings.training.model_copy(update={"epochs": 1, "report_to": ()}),
            }
        )
        parts = build_parts(fresh, Path(place))
        loading, _ = _timed(lambda: respond(parts.target, parts.form, prompts[:1], settings.sampling))
        responses, answering = _answers(parts.target, parts.form, prompts, settings)
        verdict, tokens, cost = _verdict(parts.oracle, responses, Path(place))
        training, row = _training(parts, responses, fresh, Path(place))
        parts.close()
    model = parts.model
    assert model is not None  # the settings' own
    return Speeds(
        device=f"{model.device}, {model.dtype}",
        loading=loading,
        answers=len(responses),
        answer=answering / len(responses),
        answer_tokens=sum(response.tokens for response in responses) / len(responses),
        training=training,
        row=row,
        verdict=verdict,
        verdict_tokens=tokens,
        verdict_cost=cost,
        in_turn=shares_a_cpu(settings, model),
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    done = work()
    return time.perf_counter() - begin, done


def _answers(
    target: Target, form: PromptForm, prompts: Sequence[RedTeamPrompt], settings: Settings
) -> tuple[list[Response], float]:
    """Round after round for about `SECONDS`: (answers, seconds)."""
    begin, size, done = time.perf_counter(), settings.rounds.prompts, list[Response]()
    for start in range(0, len(prompts), size):
        done += respond(target, form, prompts[start : start + size], settings.sampling)
        if time.perf_counter() - begin > SECONDS:
            break
    return done, time.perf_counter() - begin


def _verdict(oracle: Oracle, responses: Sequence[Response], place: Path) -> tuple[float, int, float | None]:
    """(seconds, tokens, dollars) of judging one answer that has something to judge."""
    oracle.check()  # the first contact of an endpoint takes longer
    before = len(read_calls(place / layout.CALLS))
    worth = [response for response in responses if not is_degenerate(response.text)] or list(responses)
    seconds, _ = _timed(lambda: oracle.judge(worth[:1]))
    calls = read_calls(place / layout.CALLS)[before:]
    tokens = sum(call.prompt_tokens + call.completion_tokens for call in calls)
    costs = [call.cost for call in calls if call.cost is not None]
    return seconds, tokens, sum(costs) if len(costs) == len(calls) else None


def _training(parts: Parts, responses: Sequence[Response], settings: Settings, place: Path) -> tuple[float, float]:
    """(seconds of a training beside its steps, seconds of a row), from a training of two steps."""
    import trl.trainer.sft_trainer  # noqa: F401  # loaded once a process

    size = settings.training.batch_size * settings.training.gradient_accumulation
    examples = [
        TrainingExample(
            prompt=response.input,
            completion=parts.form.completion(response.text or "-"),
            kind="benign",
            prompt_id=response.prompt.id,
            round=0,
            rejected=parts.form.completion(STOCK[0]),
        )
        for response in islice(cycle(responses), 2 * size)
    ]
    ends: list[float] = []

    def heard(work: Work) -> None:
        if work.what == "training" and work.done >= 1:
            ends.append(time.perf_counter())

    with told_to(heard):
        parts.target.rest()
        seconds, _ = _timed(lambda: parts.trainer.finetune(parts.base, examples, place / "training", 0))
    if parts.model is not None:
        parts.model.storage.wait()
    step = ends[-1] - ends[-2] if len(ends) > 1 else 0.0
    return max(seconds - len(ends) * step, 0.0), step / size if step else seconds / len(examples)
