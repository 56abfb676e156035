"""A judge's probabilities held against people's labels: fitted on the answers to one half of the questions, measured on
the answers to the other."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iteralign.data.split import split_held_out
from iteralign.errors import DataError
from iteralign.evals.agreement import agreement
from iteralign.evals.human_labels import Labelled
from iteralign.oracles.probability import asked_of, wordings
from iteralign.prompts import OwnTexts
from iteralign.records import Response, Verdict
from iteralign.settings.calibration import Asked, Calibration, Measured, Scale
from iteralign.stats.threshold import auc, fit

_LEAST = 8
"""Labelled answers of each label, in the half that is fitted on."""


class Rater(Protocol):
    """A judge that says how likely it finds an answer unacceptable."""

    def log_odds(self, responses: Sequence[Response]) -> list[float | str]:
        """Of each, or why there are none."""
        ...


@dataclass(frozen=True)
class Rated:
    """A labelled answer and the judge's log-odds that it is unacceptable, or why there are none."""

    labelled: Labelled
    odds: float | str

    @property
    def asked(self) -> Asked:
        return asked_of(self.labelled.response.prompt)

    @property
    def bad(self) -> bool:
        """By people's label."""
        return self.labelled.label == "unacceptable"


def calibrate(
    rater: Rater, labelled: Sequence[Labelled], *, judge: str, sources: Sequence[Path], texts: OwnTexts = None
) -> Calibration:
    """What the answers to one half of the questions say, and how it holds for the others. Raises DataError."""
    rated = [
        Rated(one, odds) for one, odds in zip(labelled, rater.log_odds([one.response for one in labelled]), strict=True)
    ]
    return calibrated(rated, judge=judge, sources=sources, texts=texts)


def calibrated(rated: Sequence[Rated], *, judge: str, sources: Sequence[Path], texts: OwnTexts = None) -> Calibration:
    """The same of answers that are rated already."""
    fitting, other = halves(rated)
    kinds = sorted({one.asked for one in fitting})
    scales = {kind: _scale([one for one in fitting if one.asked == kind], kind) for kind in kinds}
    groups = sorted({one.labelled.group for one in other})
    parts = {group: [one for one in other if one.labelled.group == group] for group in groups} | {"all": other}
    return Calibration(
        judge=judge,
        wordings={name: text for name, text in wordings(texts).items() if name in kinds},
        labels=labels_hash([one.labelled for one in rated]),
        sources=tuple(source.name for source in sources),
        scales=scales,
        fitted_on={kind: sum(one.asked == kind for one in fitting) for kind in kinds},
        measured={group: measured(part, scales) for group, part in parts.items()},
    )


def halves(rated: Sequence[Rated]) -> tuple[list[Rated], list[Rated]]:
    """By question, so that no question is on both sides, whoever answered it. Raises DataError."""
    prompts = [one.labelled.response.prompt for one in rated]
    _, held = split_held_out(prompts, share=0.5)
    names = {prompt.id for prompt in held}
    return (
        [one for one in rated if one.labelled.response.prompt.id not in names],
        [one for one in rated if one.labelled.response.prompt.id in names],
    )


def measured(rated: Sequence[Rated], scales: Mapping[Asked, Scale]) -> Measured:
    """Agreement with people; the AUC of the probabilities, which compare answers of both kinds of question."""
    verdicts = [_verdict(one, scales) for one in rated]
    found = agreement([one.labelled for one in rated], verdicts)
    read = [(_scaled(one, scales), one.bad) for one in rated if not isinstance(one.odds, str)]
    return Measured(
        total=len(rated),
        undetermined=found.undetermined,
        kappa=_number(found.kappa),
        kappa_interval=None if math.isnan(found.kappa) else found.kappa_interval,
        auc=_number(auc([score for score, _ in read], [bad for _, bad in read])),
    )


def labels_hash(labelled: Sequence[Labelled]) -> str:
    """Of the answers and what people said of them, in whatever order."""
    rows = sorted(
        (one.response.prompt.question, one.response.text, one.label, one.response.prompt.benign) for one in labelled
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _scale(rated: Sequence[Rated], kind: Asked) -> Scale:
    read = [(one.odds, one.bad) for one in rated if not isinstance(one.odds, str)]
    bad = sum(is_bad for _, is_bad in read)
    if min(bad, len(read) - bad) < _LEAST:
        raise DataError(
            f"To calibrate the question about {kind}, at least {_LEAST} answers of each label are needed in either half; "
            f"of those that the judge could be read on, {bad} are unacceptable and {len(read) - bad} acceptable."
        )
    threshold, width = fit([score for score, _ in read], [is_bad for _, is_bad in read])
    if not math.isfinite(width):
        raise DataError(
            f"About {kind}, this judge finds all answers alike: no threshold would mend that. Take another."
        )
    return Scale(threshold=threshold, width=width)


def _scaled(one: Rated, scales: Mapping[Asked, Scale]) -> float:
    assert not isinstance(one.odds, str)
    scale = scales[one.asked]
    return (one.odds - scale.threshold) / scale.width


def _verdict(one: Rated, scales: Mapping[Asked, Scale]) -> Verdict:
    label = "undetermined" if isinstance(one.odds, str) else scales[one.asked].label(one.odds)
    return Verdict(response=one.labelled.response, label=label)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
