"""`iteralign judge-check --calibrate`: labels in, a calibration and its table out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from iteralign.cli.bars import ConsoleProgress
from iteralign.cli.console import out
from iteralign.errors import ConfigError

if TYPE_CHECKING:
    from iteralign.settings.calibration import Calibration, Measured
    from iteralign.settings.oracle import OracleSettings


def calibrate(settings: "OracleSettings", sources: Sequence[Path], file: Path, limit: int | None) -> None:
    """Fit on the answers to one half of the questions, print how it does on the others, write the file."""
    from iteralign.evals.calibrate import calibrate as fit
    from iteralign.evals.judge_check import read_labels
    from iteralign.runs.build import build_probability_oracle
    from iteralign.settings.calibration import write_calibration

    judge = settings.judge
    if judge is None or judge.method != "probability" or settings.guards:
        raise ConfigError(
            "Only a judge by probability is calibrated: give --judge a settings file whose oracle.judge has method: "
            "probability, and no guards."
        )
    uncalibrated = judge.model_copy(update={"calibration": None})
    oracle = build_probability_oracle(settings.model_copy(update={"judge": uncalibrated}))
    oracle.check()
    labelled, _ = read_labels(sources, limit)
    with ConsoleProgress().working("judging labelled answers"):
        calibration = fit(oracle, labelled, judge=judge.model, sources=sources, texts=settings.texts)
    write_calibration(calibration, file)
    _print(calibration)
    out.print(f"Wrote {file}: name it in oracle.judge.calibration", markup=False, soft_wrap=True)


def _print(calibration: "Calibration") -> None:
    out.print(f"judge: {calibration.judge}", markup=False)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("labelled answers", overflow="fold")
    for name in ("n", "undet.", "kappa", "AUC"):
        table.add_column(name, justify="right")
    for group, found in calibration.measured.items():
        auc = "-" if found.auc is None else f"{found.auc:.3f}"
        table.add_row(group, str(found.total), str(found.undetermined), _kappa(found), auc)
    out.print(table)
    fitted = ", ".join(f"{count} about {name}" for name, count in calibration.fitted_on.items())
    out.print(
        f"measured on the answers to one half of the questions, fitted on those to the other ({fitted})",
        style="dim",
        soft_wrap=True,
    )


def _kappa(found: "Measured") -> str:
    if found.kappa is None or found.kappa_interval is None:
        return "-"
    low, high = found.kappa_interval
    return f"{found.kappa:.2f} \\[{low:.2f}, {high:.2f}]"
