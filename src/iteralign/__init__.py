"""Data-driven constitution discovery and iterative self-alignment of language models.

The public names, each imported from its module when it is first used, so that `import iteralign` costs nothing. The loop
itself stays where it is read: `iteralign.algorithm`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iteralign.errors import IteralignError
    from iteralign.interfaces import Oracle, Target, Trainer
    from iteralign.records import (
        Checkpoint,
        Generation,
        Principle,
        RedTeamPrompt,
        Response,
        Revision,
        Sampling,
        TrainingExample,
        Turn,
        Verdict,
    )
    from iteralign.rundir.reader import Run, read_run
    from iteralign.rundir.rounds import KeptRound
    from iteralign.runs.parts import Parts
    from iteralign.runs.rounds import Outcome
    from iteralign.runs.run import resume_run, run, start_run
    from iteralign.settings.settings import Settings, load_settings

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "Generation",
    "IteralignError",
    "KeptRound",
    "Oracle",
    "Outcome",
    "Parts",
    "Principle",
    "RedTeamPrompt",
    "Response",
    "Revision",
    "Run",
    "Sampling",
    "Settings",
    "Target",
    "Trainer",
    "TrainingExample",
    "Turn",
    "Verdict",
    "load_settings",
    "read_run",
    "resume_run",
    "run",
    "start_run",
]

_NAMES = {
    "settings.settings": ("Settings", "load_settings"),
    "errors": ("IteralignError",),
    "interfaces": ("Oracle", "Target", "Trainer"),
    "records": (
        "Checkpoint",
        "Generation",
        "Principle",
        "RedTeamPrompt",
        "Response",
        "Revision",
        "Sampling",
        "TrainingExample",
        "Turn",
        "Verdict",
    ),
    "rundir.reader": ("Run", "read_run"),
    "rundir.rounds": ("KeptRound",),
    "runs.parts": ("Parts",),
    "runs.rounds": ("Outcome",),
    "runs.run": ("resume_run", "run", "start_run"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
