"""A run on disk, for the process that works on it: begun, opened again, and refused where it is not what it was.

Resuming lives here and nowhere else. docs/run-directory.md describes every file.
"""

import contextlib
import fcntl
import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.files import append_line, is_there, why_not_below
from iteralign.records import Record, RedTeamPrompt
from iteralign.rundir import begun
from iteralign.rundir.begun import has_begun, holds_a_run
from iteralign.rundir.jsonl import as_lines
from iteralign.rundir.kept_files import KeptFiles
from iteralign.rundir.manifest import Manifest, entry_of
from iteralign.rundir.stages import Stages
from iteralign.settings.settings import CHANGEABLE, Settings, as_text, differing_keys, dump_settings, load_settings
from iteralign.weights.storage import Storage

log = logging.getLogger(__name__)


class RunDirectory(KeptFiles):
    """A run on disk, held by one process at a time.

    `create` starts a new one, `open` goes on with one; both are context managers that hold its lock.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        super().__init__(path)
        self.settings = settings
        self._prompts: dict[str, list[RedTeamPrompt]] = {}

    @classmethod
    @contextlib.contextmanager
    def create(cls, path: Path, settings: Settings) -> Iterator["RunDirectory"]:
        """A new run directory; raises what `check_free` does."""
        check_free(path, settings)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"The run directory {path} can't be made: {error}.") from error
        with _locked(path):
            check_free(path, settings)  # another process may have been here meanwhile
            given = path / layout.begun_with(layout.GIVEN_CONSTITUTION)
            given.unlink(missing_ok=True)  # an attempt's that was given one
            run = cls(path, settings)
            run.write(path / layout.CONFIG, dump_settings(settings))
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
        with _locked(path):
            run = cls(path, load_settings(path / layout.CONFIG))
            run._check_unchanged()
            run._change(overrides)
            yield run

    @property
    def started(self) -> bool:
        """Whether `start` came to its end."""
        return (self.path / layout.ENVIRONMENT).exists()

    def start(self, environment: dict[str, Any], prompt_sets: Mapping[str, Sequence[Record]]) -> None:
        """Write what the run begins with; environment.json last, as the sign that the rest is there."""
        for name, prompts in prompt_sets.items():
            self.write(self.path / layout.begun_with(name), as_lines(prompts))
            self._prompts[name] = [prompt for prompt in prompts if isinstance(prompt, RedTeamPrompt)]
        facts = {
            "run_directory": begun.VERSION,
            "manifest": True,
            **environment,
            "settings": self.settings.model_dump(mode="json"),
            "sha256": {layout.begun_with(name): self._sha256(layout.begun_with(name)) for name in prompt_sets},
        }
        self.write(self.path / layout.ENVIRONMENT, json.dumps(facts, indent=2) + "\n")

    def environment(self) -> dict[str, Any]:
        """What `start` was given, with the layout's version, the settings and the hashes of the prompt files."""
        return begun.read_environment(self.path)

    def prompts(self, name: str) -> list[RedTeamPrompt]:
        """One of the prompt sets given to `start`."""
        if name not in self._prompts:
            self._prompts[name] = begun.prompts_of(self.path, name)
        return self._prompts[name]

    given_constitution = staticmethod(begun.given_constitution)

    def round(self, number: int) -> "Stages":
        """The stages of one round."""
        return Stages(self.path / layout.round_directory(number), self._log, self.commit)

    def baseline(self) -> "Stages":
        """The stages before the first round: what the base model does."""
        return self.round(-1)

    def begin(self, weights: Storage | None = None) -> None:
        """A process starts to work on the run: note it, and what it found missing or newly set. What is computed after
        `weights` are trained is kept back until they are written."""
        self.weights = weights or self.weights
        self.log_attempt("started")
        for note in self.notes:
            log.warning("%s", note)
        self.manifest.add(self.manifest.unsure(layout.CONFIG), complete=False)

    def end(self, event: str) -> None:
        """It has ended: note how, and all that it leaves."""
        self.log_attempt(event)
        self.manifest.add(self.manifest.left(), complete=True)

    def log_attempt(self, event: str) -> None:
        """Note in attempts.jsonl that this process started, finished or stopped."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path / layout.ATTEMPTS, {"time": now, "pid": os.getpid(), "event": event})

    def log_warning(self, text: str) -> None:
        """Note in warnings.jsonl something that went wrong without ending the run."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path / layout.WARNINGS, {"time": now, "warning": text})

    def _log(self, stage: str, seconds: float) -> None:
        append_line(self.path / layout.TIMINGS, {"stage": stage, "seconds": round(seconds, 3)})

    def _sha256(self, name: str) -> str | None:
        try:
            return entry_of(self.path / name).sha256
        except OSError:
            return None

    def _check_unchanged(self) -> None:
        if self.started:
            self._check_begun_with()
        elif any((self.path / name).exists() for name in (layout.BASELINE, layout.ROUNDS)):
            raise CorruptFileError(
                f"{self.path / layout.ENVIRONMENT} is missing, and the run has begun: nobody can tell with what. Restore it "
                "from a copy, or start a new run."
            )
        self.check_files(self.started and bool(self.environment().get("manifest")))

    def _check_begun_with(self) -> None:
        facts = self.environment()
        changed = [name for name, known in facts["sha256"].items() if self._sha256(name) != known]
        if changed:
            raise RunDirectoryError(
                f"{self.path}: {', '.join(changed)} was changed or taken away since the run began, so its rounds would not "
                "belong together. Undo the change, or start a new run."
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
        self.write(self.path / layout.CONFIG, dump_settings(settings))

    def _check_settings(self, begun: Settings, now: Settings) -> None:
        fixed = {key: pair for key, pair in differing_keys(begun, now).items() if key not in CHANGEABLE}
        if fixed:
            raise RunDirectoryError(
                f"{self.path} was begun with other settings: {as_text(fixed)}. Its rounds would not belong together. "
                f"Undo the change, or start a new run. What may change: {', '.join(CHANGEABLE)}."
            )


def check_free(path: Path, settings: Settings) -> None:
    """That a run can begin here. A populated directory is refused; of a run there, the settings that differ are named. A run
    that broke off before it had begun has nothing to lose, so it may be begun anew with other settings."""
    if has_begun(path):
        differences = differing_keys(load_settings(path / layout.CONFIG), settings)
        changed = f"Its settings differ: {as_text(differences)}. " if differences else ""
        raise RunDirectoryError(
            f"{path} holds a run already. {changed}Go on with it by `iteralign resume {shlex.quote(str(path))}`, or "
            "choose another directory by --run-dir."
        )
    known = layout.BEFORE_START | (layout.WHILE_STARTING if holds_a_run(path) else set())
    if is_there(path) and (not path.is_dir() or any(entry.name not in known for entry in path.iterdir())):
        raise RunDirectoryError(f"{path} is not an empty directory. Choose another one by --run-dir.")
    why = why_not_below(path)
    if why is not None:
        raise RunDirectoryError(f"The run directory {path} can't be made: {why}. Choose another one by --run-dir.")


def record_again(path: Path, *names: str) -> None:
    """Note in the manifest files that were written anew after the run's process ended. One that is at work notes them itself
    at its end."""
    with contextlib.suppress(RunDirectoryError), _locked(path):
        manifest = Manifest(path)
        if manifest:
            manifest.add(manifest.found(names), logs=False)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the run; the operating system lets go of it when the process ends, however it ends."""
    try:
        handle = os.open(path / layout.LOCK, os.O_RDWR | os.O_CREAT, 0o644)
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
        with contextlib.suppress(OSError):  # it holds all the same, and says no more by whom
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)
