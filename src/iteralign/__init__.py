"""Data-driven constitution discovery and iterative self-alignment of language models.

The public names, each imported from its module when it is first used, so that `import iteralign` costs nothing. The loop
itself stays where it is read: `iteralign.algorithm`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iteralign.config import Settings, load_settings
    from iteralign.errors import IteralignError
    from iteralign.interfaces import Oracle, Target, Trainer
    from iteralign.parts import Parts
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
    from iteralign.run import Outcome, resume_run, run, start_run

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "Generation",
    "IteralignError",
    "Oracle",
    "Outcome",
    "Parts",
    "Principle",
    "RedTeamPrompt",
    "Response",
    "Revision",
    "Sampling",
    "Settings",
    "Target",
    "Trainer",
    "TrainingExample",
    "Turn",
    "Verdict",
    "load_settings",
    "resume_run",
    "run",
    "start_run",
]

_NAMES = {
    "config": ("Settings", "load_settings"),
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
    "parts": ("Parts",),
    "run": ("Outcome", "resume_run", "run", "start_run"),
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


class _Package(ModuleType):
    """Importing the submodule `run` would put it in the place of the function `run`: keep the function there."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "run" and isinstance(value, ModuleType):
            value = value.run
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
