"""The run directory: stages, resume, lock, attempts. Resuming lives here and nowhere else.

A stage's file appears whole or not at all (written beside, flushed to disk, renamed), so what is there can be read back.
docs/run-directory.md describes every file.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import ValidationError

from iteralign.config import Settings, differing_keys, dump_settings, load_settings
from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.records import (
    Checkpoint,
    Principle,
    Record,
    RedTeamPrompt,
    Response,
    Revision,
    TrainingExample,
    Verdict,
)

VERSION = 1
"""Of the run directory's layout."""

STAGES: dict[str, type[Record]] = {
    "1_responses": Response,
    "2_verdicts": Verdict,
    "3_principles": Principle,
    "4_revisions": Revision,
    "5_examples": TrainingExample,
    "6_checkpoint": Checkpoint,
    "7_held_out": Verdict,
    "8_benign": Verdict,
}

P = ParamSpec("P")
T = TypeVar("T")


class RunDirectory:
    """A run on disk, held by one process at a time.

    `create` starts a new one, `open` goes on with one; both are context managers that hold its lock. The static readers
    need no lock.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    @classmethod
    @contextlib.contextmanager
    def create(cls, path: Path, settings: Settings) -> Iterator["RunDirectory"]:
        """A new run directory. A populated one is refused, with the settings that differ from its own."""
        if (path / "config.yaml").exists():
            keys = differing_keys(load_settings(path / "config.yaml"), settings)
            changed = "Its settings differ: " + "; ".join(keys) + ". " if keys else ""
            raise RunDirectoryError(
                f"{path} holds a run already. {changed}Go on with it by `iteralign resume {path}`, or choose another "
                "directory by --run-dir."
            )
        if path.exists() and (not path.is_dir() or any(entry.name != ".lock" for entry in path.iterdir())):
            raise RunDirectoryError(f"{path} is not an empty directory. Choose another one by --run-dir.")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"The run directory {path} can't be made: {error}.") from error
        with _lock(path):
            yield cls(path, settings)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator["RunDirectory"]:
        """An existing run, to go on with. Refused when its settings or prompts were changed by hand."""
        if not (path / "environment.json").exists():
            raise RunDirectoryError(
                f"{path} holds no run that got past its start. Start it by `iteralign run CONFIG --run-dir {path}`."
            )
        with _lock(path):
            run = cls(path, load_settings(path / "config.yaml"))
            run._check_unchanged()
            yield run

    def start(self, environment: dict[str, Any], prompt_sets: Mapping[str, Sequence[RedTeamPrompt]]) -> None:
        """Write what the run begins with; environment.json last, as the sign that the rest is there."""
        for name, prompts in prompt_sets.items():
            write_records(self.path / f"{name}.jsonl", prompts)
        write_text(self.path / "config.yaml", dump_settings(self.settings))
        files = ["config.yaml", *(f"{name}.jsonl" for name in prompt_sets)]
        facts = {"run_directory": VERSION, **environment, "sha256": {name: self._sha256(name) for name in files}}
        write_text(self.path / "environment.json", json.dumps(facts, indent=2) + "\n")

    def prompts(self, name: str) -> list[RedTeamPrompt]:
        """One of the prompt sets given to `start`."""
        return read_records(self.path / f"{name}.jsonl", RedTeamPrompt)

    def round(self, number: int) -> "Stages":
        """The stages of one round."""
        return Stages(self.path / "rounds" / f"{number:04d}", self._log)

    def baseline(self) -> "Stages":
        """The stages before the first round: what the base model does."""
        return Stages(self.path / "baseline", self._log)

    def log_attempt(self, event: str) -> None:
        """Note in attempts.jsonl that this process started, finished or stopped."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path / "attempts.jsonl", {"time": now, "pid": os.getpid(), "event": event})

    def _log(self, stage: str, seconds: float) -> None:
        append_line(self.path / "timings.jsonl", {"stage": stage, "seconds": round(seconds, 3)})

    def _sha256(self, name: str) -> str:
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()

    def _check_unchanged(self) -> None:
        facts = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        if facts.get("run_directory") != VERSION:
            raise RunDirectoryError(
                f"{self.path} was written by another version of iteralign (layout {facts.get('run_directory')}, this one "
                f"reads {VERSION}). Finish it with the version named in its environment.json."
            )
        changed = [name for name, known in facts["sha256"].items() if self._sha256(name) != known]
        if changed:
            raise RunDirectoryError(
                f"{self.path}: {', '.join(changed)} was changed since the run began, so its rounds would not belong "
                "together. Undo the change, or start a new run."
            )


class Stages:
    """One round's stages: computed and kept, or read back."""

    def __init__(self, directory: Path, log: Callable[[str, float], None] = lambda stage, seconds: None) -> None:
        self.directory = directory
        self._log = log
        self.around: Callable[[str], contextlib.AbstractContextManager[None]] = lambda stage: contextlib.nullcontext()
        """Entered around each stage that is computed, for progress."""

    def __call__(self, stage: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`step(*args, **kwargs)`, kept as `stage` (a name in STAGES): a list of records, or one record."""
        kept = self.read(stage)
        if kept is not None:
            return cast(T, kept)
        self.directory.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        with self.around(stage):
            result = step(*args, **kwargs)
        if isinstance(result, Record):
            write_text(self.directory / f"{stage}.json", result.model_dump_json() + "\n")
        else:
            write_records(self.directory / f"{stage}.jsonl", cast(Iterable[Record], result))
        self._log(f"{self.directory.name}/{stage}", time.perf_counter() - begin)
        return result

    def read(self, stage: str) -> list[Any] | Record | None:
        """What is kept as `stage`; None if nothing is."""
        many, one = (self.directory / f"{stage}{suffix}" for suffix in (".jsonl", ".json"))
        if many.exists():
            return read_records(many, STAGES[stage])
        if one.exists():
            return _parse(STAGES[stage], one.read_text(encoding="utf-8"), str(one))
        return None


R = TypeVar("R", bound=Record)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """JSONL, whole or not at all."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def read_records(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSONL file. Raises CorruptFileError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path} can't be read: {error}.") from error
    if lines.pop() != "":
        raise CorruptFileError(f"{path}: the last line is torn. Delete the file, and resuming computes it again.")
    return [_parse(kind, line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def write_text(path: Path, text: str) -> None:
    """The file appears whole or not at all, also when the machine stops."""
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunDirectoryError(
            f"{path} can't be written: {error.strerror or error}. Nothing before it is lost: make room or mend the "
            "permissions, then resume the run."
        ) from error


def append_line(path: Path, values: dict[str, Any]) -> None:
    """One line of JSONL at the end of a log; a log with a torn last line stays readable."""
    with path.open("a+b") as file:
        if file.tell() and not _ends_with_newline(path):
            file.write(b"\n")
        file.write(json.dumps(values).encode() + b"\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; torn ones are left out."""
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict)]


def _parse(kind: type[R], line: str, where: str) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"{where} is no {kind.__name__}: {field}: {first['msg']}. Delete the file, and resuming computes it again."
        ) from error


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the run; the operating system lets go of it when the process ends, however it ends."""
    try:
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunDirectoryError(f"{path} can't be written to: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 32).decode(errors="replace").strip()
            raise RunDirectoryError(
                f"Another process ({holder or 'unknown'}) is working on {path}. Wait for it or stop it first."
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)
