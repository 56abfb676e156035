"""Every error that a user can meet, in one tree.

    IteralignError                    base class; only the command line catches it
    ├── ConfigError        ValueError     settings, recipes, prompt templates           exit code 2
    ├── DataError          ValueError     prompt sets and other input files             exit code 2
    ├── MissingExtraError  ImportError    an optional dependency is not installed       exit code 2
    ├── RunDirectoryError  RuntimeError   a run directory that can't be used as asked   exit code 1
    │   └── CorruptFileError              a file in it does not read back
    ├── TargetError        RuntimeError   the model being aligned                       exit code 1
    ├── TrainingError      RuntimeError   fine-tuning                                   exit code 1
    │   └── TrainingDiverged              its result must not be used; the run goes on without it
    ├── EvaluationIncomplete  RuntimeError  a part of an evaluation was not run     exit code 1
    ├── PushError          RuntimeError   an upload to the hub                          exit code 1
    ├── Interrupted        RuntimeError   Ctrl-C during a run; resumable                exit code 130
    ├── ReviewNeeded       RuntimeError   a person has to decide on principles; resumable   exit code 4
    └── OracleError        RuntimeError   the judge or the proposer                     exit code 1
        ├── OracleAccessError             wrong key, model name or URL: retrying can't help
        ├── OracleReplyError              a reply that can't be read
        │   └── JudgeUnreadable           not one verdict can be read; resumable        exit code 6
        └── BudgetReached                 the budget of tokens or money; resumable         exit code 3

A run that ends as it should and has trained nothing, though there was something to learn, raises nothing; the command line's
exit code is then 5 (ending.py).

A message says what happened, where, and what to do about it. Each error is also a standard type, so that a caller who
knows nothing of this module can still catch it sensibly.
"""


class IteralignError(Exception):
    """Base class of all expected errors."""

    exit_code = 1


class ConfigError(IteralignError, ValueError):
    """A setting, a recipe or a prompt template is wrong."""

    exit_code = 2


class DataError(IteralignError, ValueError):
    """A prompt set or another input file can't be read as what it should be."""

    exit_code = 2


class MissingExtraError(IteralignError, ImportError):
    """An optional dependency is needed and not installed; the message names the command that installs it."""

    exit_code = 2


class RunDirectoryError(IteralignError, RuntimeError):
    """A run directory can't be used as asked: populated, changed settings, held by another process."""


class CorruptFileError(RunDirectoryError):
    """A file of a run directory does not read back as what was written."""


class TargetError(IteralignError, RuntimeError):
    """The target can't be loaded or can't generate."""


class TrainingError(IteralignError, RuntimeError):
    """Fine-tuning failed, or gave weights that must not be used."""


class TrainingDiverged(TrainingError):
    """A loss or a weight that is not finite: the weights before the training stay in use."""


class EvaluationIncomplete(IteralignError, RuntimeError):
    """A part of what was to be measured was not; the rest was, and is printed and written."""


class PushError(IteralignError, RuntimeError):
    """The hub did not take an upload."""


class Interrupted(IteralignError, RuntimeError):
    """The user stopped a run; it can be resumed."""

    exit_code = 130


class ReviewNeeded(IteralignError, RuntimeError):
    """The run waits for a person's decision on its principles; it can be resumed when that is made."""

    exit_code = 4


class OracleError(IteralignError, RuntimeError):
    """The oracle could not be used."""


class OracleAccessError(OracleError):
    """A wrong key, model name or URL: no retry can help."""


class OracleReplyError(OracleError):
    """The oracle answered with something that can't be read; it never counts as a verdict."""


class JudgeUnreadable(OracleReplyError):
    """The judge gave no verdict that can be read; the run can be resumed when that is mended."""

    exit_code = 6


class BudgetReached(OracleError):
    """The budget of tokens or money has been reached; the run can be resumed."""

    exit_code = 3
