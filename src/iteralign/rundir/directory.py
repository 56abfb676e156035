"""The run directory: stages, resume, lock, attempts. Resuming lives here and nowhere else.

A stage's file appears whole or not at all (written beside, flushed to disk, renamed), so what is there can be read back.
docs/run-directory.md describes every file.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import ValidationError

from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.files import append_line, is_there, why_not_below, write_text
from iteralign.records import (
    Checkpoint,
    Principle,
    Record,
    RedTeamPrompt,
    Response,
    Revision,
    TextScore,
    TrainingExample,
    Verdict,
)
from iteralign.rundir.kept_files import KeptFiles
from iteralign.rundir.manifest import NAME, Manifest
from iteralign.settings.settings import CHANGEABLE, Settings, as_text, differing_keys, dump_settings, load_settings
from iteralign.text.bounded import read_json, read_text

VERSION = 2
"""Of the run directory's layout."""

MAX_RECORDS = 4 * 1024**3
"""Bytes of a file of records."""

_BEFORE_START = {".lock", "config.yaml.part", "oracle", NAME}
"""What may lie in a directory whose run was killed before it wrote its settings."""

_WHILE_STARTING = {
    *("config.yaml", "attempts.jsonl", "warnings.jsonl", "environment.json.part"),
    *(
        f"{name}.jsonl{part}"
        for name in ("prompts", "held_out", "benign", "benign_held_out", "given_constitution")
        for part in ("", ".part")
    ),
}
"""And besides, before it had begun: see `RunDirectory.start`."""

STAGES: dict[str, type[Record]] = {
    "1_responses": Response,
    "2_verdicts": Verdict,
    "3a_proposals": Principle,
    "3b_distinct": Principle,
    "3c_tried": Principle,
    "3d_review": Principle,
    "3e_tried": Principle,
    "3_principles": Principle,
    "4_revisions": Revision,
    "5_examples": TrainingExample,
    "6_checkpoint": Checkpoint,
    "7_held_out": Verdict,
    "8_benign": Verdict,
    "9_capability": TextScore,
}

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class RunDirectory(KeptFiles):
    """A run on disk, held by one process at a time.

    `create` starts a new one, `open` goes on with one; both are context managers that hold its lock. The static readers
    need no lock.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        super().__init__(path)
        self.settings = settings

    @classmethod
    @contextlib.contextmanager
    def create(cls, path: Path, settings: Settings) -> Iterator["RunDirectory"]:
        """A new run directory; raises what `check_free` does."""
        check_free(path, settings)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"The run directory {path} can't be made: {error}.") from error
        with _lock(path):
            check_free(path, settings)  # another process may have been here meanwhile
            (path / "given_constitution.jsonl").unlink(missing_ok=True)  # an attempt's that was given one
            run = cls(path, settings)
            run.write(path / "config.yaml", dump_settings(settings))
            yield run

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, overrides: Sequence[str] = ()) -> Iterator["RunDirectory"]:
        """An existing run, to go on with.

        `overrides` (`a.b=value`) and edits of config.yaml may change the settings in settings.CHANGEABLE; any other
        difference, and any file that is not what the run wrote, is refused.
        """
        if not holds_a_run(path):
            raise RunDirectoryError(f"{path} holds no run. Start one by `iteralign run CONFIG --run-dir {path}`.")
        with _lock(path):
            run = cls(path, load_settings(path / "config.yaml"))
            run._check_unchanged()
            run._change(overrides)
            yield run

    @property
    def started(self) -> bool:
        """Whether `start` came to its end."""
        return (self.path / "environment.json").exists()

    def start(self, environment: dict[str, Any], prompt_sets: Mapping[str, Sequence[Record]]) -> None:
        """Write what the run begins with; environment.json last, as the sign that the rest is there."""
        for name, prompts in prompt_sets.items():
            self.write(self.path / f"{name}.jsonl", as_lines(prompts))
        facts = {
            "run_directory": VERSION,
            "manifest": True,
            **environment,
            "settings": self.settings.model_dump(mode="json"),
            "sha256": {f"{name}.jsonl": self._sha256(f"{name}.jsonl") for name in prompt_sets},
        }
        self.write(self.path / "environment.json", json.dumps(facts, indent=2) + "\n")

    def environment(self) -> dict[str, Any]:
        """What `start` was given, with the layout's version, the settings and the prompt files' hashes."""
        path = self.path / "environment.json"
        try:
            facts: dict[str, Any] = read_json(path)
            version = facts["run_directory"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"{path} is not what iteralign wrote ({error}). Restore it from a copy.") from error
        if version != VERSION:
            raise RunDirectoryError(
                f"{self.path} was written by another version of iteralign (layout {version}, this one reads {VERSION}). "
                f"Finish it with the version named in its environment.json ({_version_of(facts)})."
            )
        return facts

    def prompts(self, name: str) -> list[RedTeamPrompt]:
        """One of the prompt sets given to `start`."""
        return read_records(self.path / f"{name}.jsonl", RedTeamPrompt)

    @staticmethod
    def given_constitution(path: Path) -> list[Principle]:
        """The principles that the run in `path` started with; none where it was given none."""
        file = path / "given_constitution.jsonl"
        return read_records(file, Principle) if file.exists() else []

    def round(self, number: int) -> "Stages":
        """The stages of one round."""
        return Stages(self.path / "rounds" / f"{number:04d}", self._log, self.commit)

    def baseline(self) -> "Stages":
        """The stages before the first round: what the base model does."""
        return Stages(self.path / "baseline", self._log, self.commit)

    def begin(self) -> None:
        """A process starts to work on the run: note it, and what it found missing or newly set."""
        self.log_attempt("started")
        for note in self.notes:
            log.warning("%s", note)
        self.manifest.add(self.manifest.unsure("config.yaml"), complete=False)

    def end(self, event: str) -> None:
        """It has ended: note how, and all that it leaves."""
        self.log_attempt(event)
        self.manifest.add(self.manifest.left(), complete=True)

    def log_attempt(self, event: str) -> None:
        """Note in attempts.jsonl that this process started, finished or stopped."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path / "attempts.jsonl", {"time": now, "pid": os.getpid(), "event": event})

    def log_warning(self, text: str) -> None:
        """Note in warnings.jsonl something that went wrong without ending the run."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path / "warnings.jsonl", {"time": now, "warning": text})

    def _log(self, stage: str, seconds: float) -> None:
        append_line(self.path / "timings.jsonl", {"stage": stage, "seconds": round(seconds, 3)})

    def _sha256(self, name: str) -> str:
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()

    def _check_unchanged(self) -> None:
        if self.started:
            self._check_begun_with()
        elif any((self.path / name).exists() for name in ("baseline", "rounds")):
            raise CorruptFileError(
                f"{self.path}/environment.json is missing, and the run has begun: nobody can tell with what. Restore it from "
                "a copy, or start a new run."
            )
        self.check_files(self.started and bool(self.environment().get("manifest")))

    def _check_begun_with(self) -> None:
        facts = self.environment()
        changed = [name for name, known in facts["sha256"].items() if self._sha256(name) != known]
        if changed:
            raise RunDirectoryError(
                f"{self.path}: {', '.join(changed)} was changed since the run began, so its rounds would not belong "
                "together. Undo the change, or start a new run."
            )
        self._check_settings(load_settings(facts["settings"]), self.settings)

    def _change(self, overrides: Sequence[str]) -> None:
        """Take up new settings from the command line, and say so in attempts.jsonl and config.yaml."""
        settings = load_settings(self.settings.model_dump(mode="json"), overrides)
        differences = differing_keys(self.settings, settings)
        if not differences:
            return
        self._check_settings(self.settings, settings)
        self.settings = settings
        self.log_attempt(f"settings: {as_text(differences)}")
        self.write(self.path / "config.yaml", dump_settings(settings))

    def _check_settings(self, begun: Settings, now: Settings) -> None:
        fixed = {key: pair for key, pair in differing_keys(begun, now).items() if key not in CHANGEABLE}
        if fixed:
            raise RunDirectoryError(
                f"{self.path} was begun with other settings: {as_text(fixed)}. Its rounds would not belong together. "
                f"Undo the change, or start a new run. What may change: {', '.join(CHANGEABLE)}."
            )


def check_free(path: Path, settings: Settings) -> None:
    """That a run can begin here. A populated directory is refused, a run with the settings that differ from its own; but one
    that broke off before it had begun has nothing to lose, and may be begun anew with other settings."""
    if has_begun(path):
        differences = differing_keys(load_settings(path / "config.yaml"), settings)
        changed = f"Its settings differ: {as_text(differences)}. " if differences else ""
        raise RunDirectoryError(
            f"{path} holds a run already. {changed}Go on with it by `iteralign resume {shlex.quote(str(path))}`, or "
            "choose another directory by --run-dir."
        )
    known = _BEFORE_START | (_WHILE_STARTING if holds_a_run(path) else set())
    if is_there(path) and (not path.is_dir() or any(entry.name not in known for entry in path.iterdir())):
        raise RunDirectoryError(f"{path} is not an empty directory. Choose another one by --run-dir.")
    why = why_not_below(path)
    if why is not None:
        raise RunDirectoryError(f"The run directory {path} can't be made: {why}. Choose another one by --run-dir.")


def has_begun(path: Path) -> bool:
    """Whether the run here came so far that there is something to go on with."""
    return holds_a_run(path) and (path / "environment.json").exists()


def record_again(path: Path, *names: str) -> None:
    """Note in the manifest files that were written anew after the run's process ended. One that is at work notes them itself
    at its end."""
    with contextlib.suppress(RunDirectoryError), _lock(path):
        manifest = Manifest(path)
        if manifest:
            manifest.add(manifest.found(names), logs=False)


def holds_a_run(path: Path) -> bool:
    """Whether a run was begun here, however far it got. A settings file by itself, a user's own, is none."""
    return is_there(path / "config.yaml") and any(is_there(path / name) for name in (".lock", "environment.json"))


class Stages:
    """One round's stages: computed and kept, or read back."""

    def __init__(
        self,
        directory: Path,
        log: Callable[[str, float], None] = lambda stage, seconds: None,
        commit: Callable[[Path, str], None] = write_text,
    ) -> None:
        self.directory = directory
        self._log = log
        self._commit = commit
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
            self._commit(self.directory / f"{stage}.json", result.model_dump_json() + "\n")
        else:
            self._commit(self.directory / f"{stage}.jsonl", as_lines(cast(Iterable[Record], result)))
        self._log(f"{self.directory.name}/{stage}", time.perf_counter() - begin)
        return result

    def read(self, stage: str) -> list[Any] | Record | None:
        """What is kept as `stage`; None if nothing is."""
        kind = STAGES[stage.partition("-")[0]]  # 3d_review-1: the first of its kind in the round
        many, one = (self.directory / f"{stage}{suffix}" for suffix in (".jsonl", ".json"))
        if many.exists():
            return read_records(many, kind)
        if one.exists():
            return read_record(one, kind)
        return None


R = TypeVar("R", bound=Record)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """JSONL, whole or not at all."""
    write_text(path, as_lines(records))


def as_lines(records: Iterable[Record]) -> str:
    """JSONL."""
    return "".join(record.model_dump_json() + "\n" for record in records)


def read_records(path: Path, kind: type[R]) -> list[R]:
    """The records of a JSONL file. Raises CorruptFileError naming file and line."""
    try:
        lines = read_text(path, MAX_RECORDS).split("\n")
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path} can't be read: {error}.") from error
    if lines.pop() != "":
        raise CorruptFileError(f"{path}: the last line is torn. Delete the file, and resuming computes it again.")
    return [_parse(kind, line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The same of a file that has a line at least. Raises CorruptFileError."""
    rows = read_records(path, kind)
    if not rows:
        raise CorruptFileError(f"{path} is empty. Delete it and resume the run.")
    return rows


def read_record(path: Path, kind: type[R]) -> R:
    """The one record of a JSON file. Raises CorruptFileError."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path} can't be read: {error}.") from error
    return _parse(kind, text, str(path))


def _version_of(facts: Mapping[str, Any]) -> str:
    versions = facts.get("versions")
    return f"iteralign {versions.get('iteralign', 'unknown')}" if isinstance(versions, dict) else "unknown"


def _parse(kind: type[R], line: str, where: str) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"{where} is no {kind.__name__}: {field}: {first['msg']}. Delete the file, and resuming computes it again."
        ) from error


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
