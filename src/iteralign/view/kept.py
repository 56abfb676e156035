"""What was made of runs for their pages, kept until a further round has ended."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from iteralign.errors import RunDirectoryError
from iteralign.integrity.verify import verify_run
from iteralign.report.html import section
from iteralign.report.view import view_of
from iteralign.view.apart import for_all_of
from iteralign.view.found import RunLine, as_it_is, line_of, runs_under
from iteralign.view.index import AnswerIndex
from iteralign.view.now import settled

T = TypeVar("T")

REPORTED = ("result", "did", "rounds", "constitution", "failures", "made", "limits")
"""Parts of the report that stand in a page as they are: answers are searched, and files are checked last."""


class Runs:
    """The runs under a directory, and what was made of them for pages. Safe for threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sections = Kept(lambda run: for_all_of(run, sections, run))
        self._problems = Kept(lambda run: for_all_of(run, problems, run))
        self._indexes = Kept(AnswerIndex)
        self._lines: dict[Path, tuple[str, RunLine]] = {}

    def path(self, key: str) -> Path:
        """Raises RunDirectoryError for what is no run below the directory."""
        path = runs_under(self.directory).get(key)
        if path is None:
            raise RunDirectoryError(f"There is no run {key!r} under {self.directory}.")
        return path

    def lines(self) -> list[RunLine]:
        """One for each run. What a run measured is looked up again when a round has ended."""
        lines: dict[Path, tuple[str, RunLine]] = {}
        for key, path in runs_under(self.directory).items():
            now = settled(path)
            before, line = self._lines.get(path, ("", None))
            if line is None or line.problem or before != now:
                line = for_all_of(path, line_of, key, path)
            lines[path] = (now, line)
        self._lines = lines
        return [as_it_is(line, path) for path, (_, line) in lines.items()]

    def section(self, path: Path, name: str) -> bytes:
        """One of REPORTED, made again when a round has ended."""
        return self._sections.of(path)[name]

    def problems(self, path: Path) -> list[str]:
        """Why a run is not what was computed, looked for again when a round has ended."""
        return self._problems.of(path)

    def answers(self, path: Path) -> AnswerIndex:
        """The answers, indexed again when a round has ended."""
        return self._indexes.of(path)


def sections(run: Path) -> dict[str, bytes]:
    """REPORTED as markup, encoded: half of what it is as text."""
    view = view_of(run, check=False)
    return {name: section(name, getattr(view, name)).encode("utf-8", "replace") for name in REPORTED}


def problems(run: Path) -> list[str]:
    """What `iteralign verify` finds, whole models apart."""
    return verify_run(run, big=False).problems


class Kept(Generic[T]):
    """What is made of a run, as long as the run is what it was then. That of the last run alone is kept."""

    def __init__(self, make: Callable[[Path], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._last: tuple[Path, str, T] | None = None

    def of(self, run: Path) -> T:
        """It is made once, whoever asks meanwhile."""
        with self._lock:
            now = settled(run)
            if self._last is None or self._last[:2] != (run, now):
                self._last = None
                self._last = (run, now, self._make(run))
            return self._last[2]
