"""Trackers (tensorboard, wandb, mlflow, trackio) of a whole run: its curves by round, its training by optimiser step.

transformers' own callbacks write, one per tracker and process. What was sent stands in RUN/tracked.jsonl, so that a resumed
run sends nothing twice. A tracker that fails is told of and left out; it never costs the run.
"""

import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.errors import ConfigError, MissingExtraError
from iteralign.files import append_line, read_log

PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}

Values = Mapping[str, float]

log = logging.getLogger(__name__)


def check_trackers(names: Sequence[str]) -> None:
    """Raises ConfigError for a name that is not known, MissingExtraError for a package that is not there."""
    for name in names:
        if name not in PACKAGES:
            raise ConfigError(f"training.report_to: {name} is not known; choose among {', '.join(PACKAGES)}.")
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise MissingExtraError(f"training.report_to: {name} is not installed: pip install {PACKAGES[name][0]}")


class Tracking:
    """The trackers of one run, opened when there is something to send."""

    def __init__(self, names: Sequence[str], directory: Path, run_name: str, settings: Mapping[str, Any]) -> None:
        """`directory` is the run's, `settings` what the trackers show as its configuration."""
        check_trackers(names)
        self.directory = directory
        self.run_name = run_name
        self.settings = settings
        self._waiting = list(names)
        self._open: dict[str, _Open] = {}
        self._sent = {(line.get("tracker"), line.get("what")) for line in read_log(directory / layout.TRACKED)}

    def __bool__(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self._waiting or self._open)

    def training(self, round_number: int, steps_before: int, history: Iterable[Values]) -> None:
        """A round's training, once it has ended: transformers' log of its steps, counted on from `steps_before`."""
        points = [
            (steps_before + int(entry["step"]), {**entry, "round": round_number})
            for entry in history
            if "loss" in entry  # the last one sums up
        ]
        self._send(f"training of round {round_number}", points)

    def scores(self, rounds_done: int, values: Values) -> None:
        """The scoreboard after so many rounds; 0 is the base model."""
        self._send(
            f"scores after {rounds_done} rounds", [(rounds_done, {f"eval_{key}": values[key] for key in values})]
        )

    def close(self) -> None:
        """End the trackers' runs."""
        for name in list(self._open):
            self._attempt(name, self._open.pop(name).end)

    def _send(self, what: str, points: Sequence[tuple[int, Values]]) -> None:
        for name in [*self._open, *self._waiting]:
            if (name, what) in self._sent:
                continue
            # Noted first: of a process that is killed here, a point is missing and none is there twice.
            self._sent.add((name, what))
            append_line(self.directory / layout.TRACKED, {"tracker": name, "what": what})
            self._attempt(name, self._log, name, points)

    def _log(self, name: str, points: Sequence[tuple[int, Values]]) -> None:
        if name in self._waiting:
            self._waiting.remove(name)
            self._open[name] = _Open(name, self.directory, _arguments(self.directory, self.run_name, self.settings))
        for step, values in points:
            self._open[name].log(step, values)

    def _attempt(self, name: str, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:
            self._open.pop(name, None)
            why = " ".join(str(error).split())[:300] or type(error).__name__
            log.warning("%s is told no more of this run: %s. The run goes on without it.", name, why)


class _Open:
    """A tracker whose run has begun: transformers' callback for it."""

    def __init__(self, name: str, directory: Path, arguments: Any) -> None:
        from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

        self._arguments = arguments
        self._callback = INTEGRATION_TO_CALLBACK[name]()
        if name == "tensorboard":
            self._callback.logging_dir = self._callback.logging_dir or str(directory / layout.TENSORBOARD)
        # transformers leaves wandb's run open until the process ends; one that the caller had begun stays open.
        self._wandb = importlib.import_module("wandb") if name == "wandb" else None
        self._ends_wandb = self._wandb is not None and self._wandb.run is None
        self._callback.on_train_begin(arguments, *_moment(0))

    def log(self, step: int, values: Values) -> None:
        self._callback.on_log(self._arguments, *_moment(step), logs=dict(values))

    def end(self) -> None:
        self._callback.on_train_end(self._arguments, *_moment(0))
        if self._wandb is not None and self._ends_wandb:
            self._wandb.finish()


def _moment(step: int) -> tuple[Any, Any]:
    """The state and control that callbacks are given."""
    import transformers

    return transformers.TrainerState(global_step=step), transformers.TrainerControl()


def _arguments(directory: Path, run_name: str, settings: Mapping[str, Any]) -> Any:
    """What transformers' callbacks read a run's name and configuration from."""
    import transformers

    class Arguments(transformers.TrainingArguments):  # type: ignore[misc, unused-ignore]
        def to_dict(self) -> dict[str, Any]:
            return dict(settings)

    return Arguments(output_dir=str(directory), run_name=run_name, project="iteralign", report_to="none", use_cpu=True)
