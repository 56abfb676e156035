"""Is the judge right? Its verdicts against people's labels, and what its errors mean for a measured rate."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.data.sample import stratified
from iteralign.errors import DataError
from iteralign.evals.agreement import (
    OF_THE_RUN,
    Agreement,
    Corrected,
    LengthBias,
    PairAgreement,
    agreement,
    attack_errors,
    corrected,
    length_bias,
    pair_agreement,
)
from iteralign.evals.human_labels import Labelled, LabelledPair, beside_verdicts, read_human_labels
from iteralign.evals.pairwise import Tally, compare_both_orders
from iteralign.files import write_text
from iteralign.interfaces import Judge
from iteralign.records import Verdict
from iteralign.rundir.labels import sample
from iteralign.rundir.reader import Run, read_run
from iteralign.stats.intervals import Proportion
from iteralign.stats.rates import unacceptable_rate


@dataclass(frozen=True)
class CorrectedRate:
    """A run's held-out rate as its judge gave it, and corrected for the judge's errors on the labelled answers."""

    where: str
    raw: Proportion
    corrected: Corrected


@dataclass(frozen=True)
class JudgeReport:
    """Everything that `iteralign judge-check` prints."""

    judge: str
    groups: dict[str, Agreement]
    """By group of the labelled answers; `all` last, and after it those of the runs. Empty where there were only pairs."""
    length: dict[str, LengthBias]
    pairs: PairAgreement | None = None
    sides: Tally | None = None
    """Chosen against rejected, shown side by side in both orders: wins are the person's choice. Needs an LLM judge."""
    rates: tuple[CorrectedRate, ...] = ()


def judge_check(
    oracle: Judge,
    sources: Sequence[Path],
    *,
    judge: str,
    runs: Sequence[Path] = (),
    limit: int | None = None,
) -> JudgeReport:
    """Judge the labelled answers of `sources` and compare.

    It compares pairs too, unless it only knows verdicts on single answers, which no order sways. `runs`:
    run directories that this judge judged, whose held-out rates are to be corrected, by what people said of their own answers
    as far as those were drawn by chance, else by `sources`. `limit`: at most so many answers of each source, every group and
    label with its share, and so many pairs. Raises DataError and what the oracle raises.
    """
    opened = [read_run(run) for run in runs]
    labelled, pairs = read_labels(sources, limit)
    verdicts = oracle.judge([one.response for one in labelled]) if labelled else []
    groups, length = _groups(labelled, verdicts)
    own = [both for run in opened for both in beside_verdicts(sample(run), OF_THE_RUN)]
    if own:
        groups[OF_THE_RUN] = agreement([one for one, _ in own], [verdict for _, verdict in own])
    return JudgeReport(
        judge=judge,
        groups=groups,
        length=length,
        pairs=pair_agreement(pairs, _judged_pairs(oracle, pairs)) if pairs else None,
        sides=_sides(oracle, pairs) if pairs and oracle.sees_both else None,
        rates=tuple(rate for run in opened for rate in _rates(run, groups)),
    )


def read_labels(sources: Sequence[Path], limit: int | None) -> tuple[list[Labelled], list[LabelledPair]]:
    """Labelled answers and pairs; at most `limit` of each source, every kind with its share. Raises DataError."""
    labelled: list[Labelled] = []
    pairs: list[LabelledPair] = []
    for source in sources:
        some, more = read_human_labels(source)
        labelled += stratified(some, limit, lambda one: (one.group, one.label))
        pairs += stratified(more, limit, lambda pair: pair.chosen.prompt.benign)
    return labelled, pairs


def write_report(report: JudgeReport, path: Path) -> None:
    """As JSON; `iteralign evaluate --judge-check` reads it."""
    found = attack_errors(report.groups)
    values = asdict(report) | {"attack_errors": None if found is None else asdict(found)}
    text = json.dumps(_plain(values), indent=2, allow_nan=False)
    write_text(path, text + "\n")


def _groups(
    labelled: Sequence[Labelled], verdicts: Sequence[Verdict]
) -> tuple[dict[str, Agreement], dict[str, LengthBias]]:
    if not labelled:
        return {}, {}
    both = list(zip(labelled, verdicts, strict=True))
    names = sorted({one.group for one in labelled})
    parts = {name: [(one, verdict) for one, verdict in both if one.group == name] for name in names}
    parts["all"] = both
    split = {name: ([one for one, _ in part], [verdict for _, verdict in part]) for name, part in parts.items()}
    return (
        {name: agreement(*part) for name, part in split.items()},
        {name: length_bias(*part) for name, part in split.items()},
    )


def _judged_pairs(oracle: Judge, pairs: Sequence[LabelledPair]) -> list[tuple[Verdict, Verdict]]:
    verdicts = iter(oracle.judge([response for pair in pairs for response in (pair.chosen, pair.rejected)]))
    return [(next(verdicts), next(verdicts)) for _ in pairs]


def _sides(oracle: Judge, pairs: Sequence[LabelledPair]) -> Tally:
    return compare_both_orders(oracle, [pair.chosen for pair in pairs], [pair.rejected for pair in pairs])


def _rates(run: Run, groups: dict[str, Agreement]) -> list[CorrectedRate]:
    """Held-out rates before the first and after the last round that was measured."""
    found = attack_errors(groups)
    if found is None:
        raise DataError(
            f"{run.path}: a rate can only be corrected by labelled single answers; pairs alone give no error rates. Label "
            "some of the run's own in its page, as chance draws them: `iteralign view`."
        )
    measured = [one for one in (run.baseline, *run.rounds()) if layout.HELD_OUT_VERDICTS in one.stages]
    if not measured:
        raise DataError(f"{run.path} has no held-out measurement.")
    rates = []
    for one in dict.fromkeys((measured[0], measured[-1])):
        raw = unacceptable_rate(one.held_out())
        rates.append(CorrectedRate(str(one.directory), raw, corrected(raw, found.sensitivity, found.specificity)))
    return rates


def _plain(value: Any) -> Any:
    """Without NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
