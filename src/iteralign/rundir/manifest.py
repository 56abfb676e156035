"""RUN/manifest.jsonl: the size and SHA-256 of every file of a run, so that none is changed, cut or swapped unseen.

Each commit has a line, written before its files appear. `files` has their size and hash (null: no longer there), `logs` those
of the logs as far as they have grown. `complete` says that a process has ended and that everything there has an entry. `chain`
is the hash of the line before's `chain` and of the rest of this line. So no line can be changed, and none before the last can
be left out. What the last line names may not have appeared yet: the process was killed between.

This finds accidents and careless edits. Whoever rewrites the whole manifest goes unseen: that is what signing is for.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.errors import CorruptFileError
from iteralign.files import cannot_write, read_log
from iteralign.layout import LOGS, MANIFEST
from iteralign.text.bounded import opened

_SMALL = 64 * 1024
"""Bytes of a file that is hashed in one piece: the pieces of a large one take as long to make ready as such a file to hash."""


@dataclass(frozen=True)
class Entry:
    """What a file is to be."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Line:
    """One commit."""

    files: dict[str, Entry | None] = field(default_factory=dict)
    logs: dict[str, Entry] = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True)
class Fault:
    """A file that is not what was written."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


class Manifest:
    """The manifest of one run, as far as it is read; `add` writes to it."""

    def __init__(self, run: Path) -> None:
        """Raises CorruptFileError for one that was changed. The torn last line of a killed process is left out."""
        self.run = run
        self.path = run / MANIFEST
        self.lines: list[Line] = []
        self._chain = ""
        self._whole = 0
        """Bytes up to the end of the last whole line."""
        self.files: dict[str, Entry] = {}
        self.logs: dict[str, Entry] = {}
        self.earlier: dict[str, Entry] = {}
        """The entry before the newest of each file, where there was one."""
        self._running: dict[str, tuple[int, Any]] = {}
        """Of each log the bytes hashed so far, and the hash that goes on."""
        self._read()

    def __bool__(self) -> bool:
        """Whether there is anything in it: runs of earlier versions have none."""
        return bool(self.lines)

    @property
    def complete(self) -> bool:
        """Whether the process that worked on the run last came to its end and left an entry for everything."""
        return bool(self.lines) and self.lines[-1].complete

    def add(self, files: Mapping[str, Entry | None], *, complete: bool | None = None, logs: bool = True) -> None:
        """One commit: its files, which then appear, and the logs as they are now. What is known is not written again.

        `complete` as it was, if not said. Without `logs` these are left as they were noted.
        """
        new = {name: entry for name, entry in files.items() if self.files.get(name) != entry}
        if not new and complete is None:
            return
        line = Line(new, self._grown() if logs else {}, self.complete if complete is None else complete)
        chain, text = _sealed(self._chain, line)
        data = text.encode() + b"\n"
        try:
            with self.path.open("r+b" if self._whole else "wb") as file:
                file.truncate(self._whole)  # behind it, a line that a killed process has torn
                file.seek(self._whole)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._take(line, chain, len(data))

    def gone(self) -> dict[str, Entry | None]:
        """The files that have an entry and are not there."""
        return {name: None for name in self.files if not os.path.exists(f"{self.run}/{name}")}

    def unsure(self, *names: str) -> dict[str, Entry | None]:
        """As they are: `names`, what the last line speaks of, and what is gone. The process before may have been killed."""
        last = self.lines[-1].files if self.lines else {}
        there = [name for name in (*names, *last) if (self.run / name).exists()]
        return {**self.gone(), **self.found(there)}

    def left(self) -> dict[str, Entry | None]:
        """The entries that are missing once a process has ended: of new files, and of those that change at any time."""
        names = (name for name in ours(self.run) if name not in self.files or _is(name, layout.IN_FLUX))
        return {**self.gone(), **self.found(names)}

    def forget(self, log: str) -> None:
        """Take a log that was changed as it is now."""
        self.logs.pop(log, None)
        self._running.pop(log, None)

    def last(self, name: str) -> Entry | None:
        """The newest entry of a file, also of one that is gone."""
        return self.files.get(name) or self.earlier.get(name)

    def found(self, names: Iterable[str], known: Mapping[str, Entry] | None = None) -> dict[str, Entry]:
        """The entries of files as they lie there; those that are `known` need not be read."""
        return {name: (known or {}).get(name) or entry_of(self.run / name) for name in names}

    def faults(self, *, big: bool = True) -> Iterator[Fault]:
        """Everything that is not as it was written. Without `big`, whole models are compared by their size alone."""
        present = set(ours(self.run))
        for name, entry in self.files.items():
            if self.complete or not _is(name, layout.IN_FLUX):
                yield from self._compare(name, entry, by_size=not big and _is(name, layout.BIG))
        for name, entry in self.logs.items():
            yield from self._compare_log(name, entry)
        for name in sorted(present - self.files.keys()):
            if not self._may_have_come(name):
                yield Fault(name, f"has no entry in {MANIFEST}: it was not written by this run, or {MANIFEST} was cut")
        if self.lines and not self.complete and _has_ended(self.run):
            yield Fault(
                MANIFEST,
                "does not say what the run's last process left: it was cut, or the process was killed at its end",
            )

    def faults_in(self, directory: str) -> list[Fault]:
        """Everything in a directory that is not as it was written."""
        known = {name: entry for name, entry in self.files.items() if name.startswith(f"{directory}/")}
        found = [fault for name in known for fault in self._compare(name, known[name], by_size=False)]
        strangers = set(names_in(self.run, self.run / directory)) - known.keys() if known else set()
        return [*found, *(Fault(name, f"has no entry in {MANIFEST}") for name in sorted(strangers))]

    def _compare(self, name: str, entry: Entry, *, by_size: bool) -> Iterator[Fault]:
        pending = not self.complete and (name in self.lines[-1].files or _is(name, layout.DROPPED))
        try:
            found = Entry((self.run / name).stat().st_size, entry.sha256) if by_size else entry_of(self.run / name)
        except FileNotFoundError:
            if not pending:
                yield Fault(name, "is missing")
            return
        except OSError as error:
            yield Fault(name, f"can't be read: {error.strerror}")
            return
        if found != entry and not (pending and found == self.earlier.get(name)):
            yield Fault(name, f"was changed after it was written ({_difference(found, entry)})")

    def _compare_log(self, name: str, entry: Entry) -> Iterator[Fault]:
        path = self.run / name
        if not path.is_file():
            yield Fault(name, "is missing")
            return
        size, so_far = _hashed(path, entry.size)
        if Entry(size, so_far.hexdigest()) != entry:
            yield Fault(name, f"was changed or cut within its first {entry.size:,} bytes, which were there before")
        elif self.complete and path.stat().st_size != entry.size:
            yield Fault(name, "has grown since the run's last process ended")

    def _may_have_come(self, name: str) -> bool:
        """Whether a file may lie there without an entry: written by a process that was killed before the commit."""
        return not self.complete and (_is(name, layout.WEIGHTS) or _is(name, layout.IN_FLUX))

    def _grown(self) -> dict[str, Entry]:
        """The logs that are longer than their last entry says, hashed on from there."""
        grown = {}
        for name in LOGS:
            path = self.run / name
            known = self.logs.get(name, Entry(0, ""))
            if not path.is_file() or path.stat().st_size == known.size:
                continue
            start, so_far = self._running.get(name) or _hashed(path, known.size)
            size, so_far = _hashed(path, None, start, so_far)
            self._running[name] = (size, so_far)
            grown[name] = Entry(size, so_far.hexdigest())
        return grown

    def _read(self) -> None:
        try:
            with opened(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise CorruptFileError(f"{self.path} can't be read: {error.strerror}.") from error
        for number, text in enumerate(data.split(b"\n")[:-1], start=1):
            try:
                line, chain = _parsed(text, self._chain)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise CorruptFileError(
                    f"{self.path}:{number} was changed, cut or left out after it was written. Restore {MANIFEST} from a copy: "
                    "without it nobody can tell whether the run's files are what was computed."
                ) from None
            self._take(line, chain, len(text) + 1)

    def _take(self, line: Line, chain: str, size: int) -> None:
        for name, entry in line.files.items():
            if name in self.files:
                self.earlier[name] = self.files.pop(name)
            if entry is not None:
                self.files[name] = entry
        self.logs |= line.logs
        self.lines.append(line)
        self._chain, self._whole = chain, self._whole + size


def ours(run: Path) -> list[str]:
    """The files that a run has written, relative to it and sorted: logs, locks and what is half written left out."""
    if not run.is_dir():
        return []
    root, names = str(run), [entry.name for entry in run.iterdir()]
    for part in layout.DIRECTORIES:
        for place, _, files in os.walk(os.path.join(root, part)):
            below = os.path.relpath(place, root).replace(os.sep, "/")
            names += [f"{below}/{file}" for file in files]
    ours = (name for name in names if _is(name, (*layout.OURS, *layout.IN_FLUX)) and not _is(name, layout.NOT_OURS))
    return sorted(name for name in ours if os.path.isfile(f"{root}/{name}"))


def names_in(run: Path, directory: Path) -> list[str]:
    """The files of a directory of weights, relative to the run and sorted."""
    return sorted(file.relative_to(run).as_posix() for file in directory.rglob("*") if file.is_file())


def entry_of(path: Path) -> Entry:
    """Size and hash of a file. Raises OSError."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _SMALL:
            return Entry(size, hashlib.file_digest(file, "sha256").hexdigest())
        return Entry(size, hashlib.sha256(file.read()).hexdigest())


def entry_for(text: str) -> Entry:
    """Of a file with this text."""
    data = text.encode()
    return Entry(len(data), hashlib.sha256(data).hexdigest())


def _hashed(path: Path, size: int | None, start: int = 0, so_far: Any = None) -> tuple[int, Any]:
    """(bytes, hash) of the file's first `size` bytes, going on from the first `start`, whose hash is `so_far`."""
    so_far = so_far or hashlib.sha256()
    with opened(path) as file:
        file.seek(start)
        data = file.read(-1 if size is None else max(0, size - start))
    so_far.update(data)
    return start + len(data), so_far


def _sealed(previous: str, line: Line) -> tuple[str, str]:
    """(chain, text) of a line that follows one with the chain `previous`."""
    body = {
        "files": {name: entry and {"size": entry.size, "sha256": entry.sha256} for name, entry in line.files.items()},
        "logs": {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in line.logs.items()},
        "complete": line.complete,
    }
    chain = hashlib.sha256(f"{previous}\n{json.dumps(body)}".encode()).hexdigest()
    return chain, json.dumps(body | {"chain": chain})


def _parsed(text: bytes, previous: str) -> tuple[Line, str]:
    """A line and its chain. Raises ValueError and the like for one that was changed, also in its white space."""
    found = json.loads(text)
    files = {name: entry and Entry(**entry) for name, entry in found["files"].items()}
    line = Line(files, {name: Entry(**entry) for name, entry in found["logs"].items()}, found["complete"])
    chain, again = _sealed(previous, line)
    if again.encode() != text:
        raise ValueError
    return line, chain


def _has_ended(run: Path) -> bool:
    attempts = read_log(run / layout.ATTEMPTS)
    return bool(attempts) and str(attempts[-1].get("event", "")).startswith(("finished", "stopped"))


def _is(name: str, patterns: tuple[str, ...]) -> bool:
    return _any_of(patterns).match(name) is not None


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns))


def _difference(found: Entry, entry: Entry) -> str:
    if found.size != entry.size:
        return f"{found.size:,} bytes, {entry.size:,} were written"
    return f"SHA-256 {found.sha256[:12]}..., {entry.sha256[:12]}... was written"
