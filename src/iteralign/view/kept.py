"""What was made of runs for their pages, kept until a further round has ended."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from iteralign.errors import RunDirectoryError
from iteralign.report.view import View, view_of
from iteralign.view.found import runs_under
from iteralign.view.index import AnswerIndex, open_index
from iteralign.view.now import settled

T = TypeVar("T")


class Runs:
    """The runs under a directory, and what was made of them for pages. Safe for threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._views: dict[Path, tuple[str, View]] = {}
        self._indexes: dict[Path, tuple[str, AnswerIndex]] = {}

    def path(self, key: str) -> Path:
        """Raises RunDirectoryError for what is no run below the directory."""
        path = runs_under(self.directory).get(key)
        if path is None:
            raise RunDirectoryError(f"There is no run {key!r} under {self.directory}.")
        return path

    def view(self, path: Path) -> View:
        """The report, made again when a round has ended."""
        return _kept(self._lock, self._views, path, view_of)

    def answers(self, path: Path) -> AnswerIndex:
        """The answers, indexed again when a round has ended."""
        return _kept(self._lock, self._indexes, path, open_index)


def _kept(lock: threading.Lock, known: dict[Path, tuple[str, T]], path: Path, make: Callable[[Path], T]) -> T:
    """What was made of a run, as long as the run is what it was then. The last one alone is kept."""
    with lock:
        now = settled(path)
        if path not in known or known[path][0] != now:
            known.clear()
            known[path] = (now, make(path))
        return known[path][1]
