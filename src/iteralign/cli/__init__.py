"""The command line. `iteralign --help` loads neither torch nor transformers."""

import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iteralign.trainers.launched import Launch


def main() -> None:
    """Entry point: run the command; expected errors are one message and an exit code (errors.py)."""
    quiet_libraries()
    if os.environ.get("WORLD_SIZE", "1") in ("", "1"):
        _command(None)
        return
    from iteralign.trainers.launched import take

    launch = take(os.environ)
    if launch is None:
        _command(None)
    elif launch.seat.rank:
        sys.exit(launch.serve())
    else:
        try:
            _command(launch)
        finally:
            launch.end()


def quiet_libraries() -> None:
    """Before they are imported: their own bars and hints would draw over ours; whoever wants them sets these variables."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)


def _command(launch: "Launch | None") -> None:
    """Run the command, by the processes of a launcher if there is one."""
    from iteralign.cli.app import app
    from iteralign.cli.completion import join_words
    from iteralign.errors import IteralignError

    join_words(os.environ)
    try:
        app(standalone_mode=True, obj=launch)
    except IteralignError as error:
        said, code = str(error), error.exit_code
    except (
        OSError
    ) as error:  # of a file: a name that is too long, a place that may not be read, a loop of links, a full disk
        if not isinstance(error.filename, str):
            raise
        said, code = (
            f"{error.filename} can't be used: {error.strerror}. Check the path, its permissions and the disk.",
            1,
        )
    else:
        return
    from iteralign.cli.console import fail

    sys.exit(fail(said, code))
