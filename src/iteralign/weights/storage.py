"""Where the weights trained from a model lie, and how they come there: whole, one after another, beside the work."""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.files import written_whole
from iteralign.layout import CHECKPOINT
from iteralign.records import Checkpoint


class Storage:
    """A directory with trained weights in it. That of a run also knows what they are to be: rundir/weights.py."""

    def __init__(self, root: Path) -> None:
        """`root`: what the paths of checkpoints are relative to."""
        self.root = root
        self.written: dict[Path, tuple[int, str]] = {}
        """Size and SHA-256 of each file written beside the work, taken by the thread that wrote it."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def arithmetic(self) -> Mapping[str, Any] | None:
        """How the weights here were computed with so far; empty: not at all; None: as before that was written down."""
        return {}

    def check(self, directory: Path) -> None:
        """Raises where weights, about to be read, are not those that were written."""

    def place(self, checkpoint: Checkpoint) -> Path:
        """The directory of trained weights, whole and as they were written. Raises TargetError where it is gone."""
        self.wait()
        directory = self.root / checkpoint.path
        if not directory.is_dir():
            raise TargetError(
                f"{directory} is not there, with the weights that the run goes on from. Restore it from a copy. Or delete "
                f"{directory.parent / CHECKPOINT.file}, what follows it there and all later rounds: resuming trains that "
                "round again."
            )
        self.check(directory)
        return directory

    def path_of(self, directory: Path) -> str:
        """What a checkpoint has for its path."""
        return Path(os.path.relpath(directory, self.root)).as_posix()

    def write(self, directory: Path, write: Callable[[Path], None]) -> None:
        """Begin to fill a directory by `write`, which is given one that takes its place at the end, after the one before it.
        The thread is a daemon: what it has not finished when the process ends is a `.part`."""
        self.wait()

        def work() -> None:
            try:
                with written_whole(directory) as place:
                    write(place)
                for path in directory.rglob("*"):
                    with path.open("rb") as file:
                        self.written[path] = path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
            except BaseException as error:  # raised where it is waited for
                self._error = error

        self._thread = threading.Thread(target=work, name="writing", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether weights are being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Until they are written: they must not change before. Raises what went wrong, to everybody who waits: what follows
        them must not be written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error
