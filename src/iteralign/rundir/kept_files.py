"""The files that a run keeps: written after their line in the manifest, and checked against it before they are trusted."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from iteralign import layout
from iteralign.errors import CorruptFileError
from iteralign.files import write_texts
from iteralign.layout import MANIFEST, METRICS
from iteralign.records import Checkpoint
from iteralign.rundir.manifest import Entry, Fault, Manifest, entry_for, names_in, ours
from iteralign.weights.storage import Storage

WRITTEN_TOGETHER = 0.5
"""Seconds: what is computed in less is written with what follows, so that a run of quick rounds does not wait for the disk at
each of its files. It is what a kill may cost beside the stage under way."""
_MOST_NAMED = 20  # faults in one message


class KeptFiles:
    """The files of the run in `path`."""

    def __init__(self, path: Path) -> None:
        """Raises CorruptFileError for a manifest that was changed."""
        self.path = path
        self.weights = Storage(path)
        """What is computed while weights are written there is kept back until they are."""
        self._kept_back: list[tuple[Path, str]] = []
        self._settled = time.monotonic()
        self.notes: list[str] = []
        """What `check_files` found that is no obstacle."""
        self.manifest = Manifest(path)

    def commit(self, path: Path, text: str) -> None:
        """Write a file after all those before it: none says that a round has trained before its weights are on disk. What
        followed so soon that hardly anything was computed meanwhile is written with the next."""
        self._kept_back.append((path, text))
        if not self.weights.busy and time.monotonic() - self._settled >= WRITTEN_TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Wait until the weights are written, and write what was kept back."""
        self.weights.wait()
        entries: dict[str, Entry | None] = {}
        for path, text in self._kept_back:
            self._refuse_other(path, text)
            entries |= {**self._weights_of(path, text), self._name(path): entry_for(text)}
        self._write(dict(self._kept_back), entries)
        self._kept_back.clear()
        self._settled = time.monotonic()

    def write(self, path: Path, text: str) -> None:
        """Write one of the run's files, after its line in the manifest."""
        self._write({path: text}, {self._name(path): entry_for(text)})

    def _write(self, texts: Mapping[Path, str], entries: Mapping[str, Entry | None]) -> None:
        """Files after their line in the manifest; those that lie there just so are left alone."""
        texts = {path: text for path, text in texts.items() if not self._lies_there(path, entries[self._name(path)])}
        if texts:
            write_texts(texts, lambda: self.manifest.add(entries))

    def _lies_there(self, path: Path, entry: Entry | None) -> bool:
        """Whether it does, as `check_files` has found it or as it was written since."""
        return self.manifest.files.get(self._name(path)) == entry and path.exists()

    def record(self, directory: Path) -> None:
        """Note in the manifest the weights that were written into a directory of the run."""
        self.manifest.add(self._entries_in(directory))

    def check_files(self, manifest: bool) -> None:
        """Raises CorruptFileError unless all files are as they were written; says from where the run can go on. `manifest`:
        whether there is to be one. A log that was changed gives a note, what is missing is computed again."""
        if not self.manifest:
            self._adopt(manifest)
        faults = list(self.manifest.faults(big=False))
        refuse(self.path, [fault for fault in faults if not self._may_be_mended(fault)])
        for fault in faults:
            if fault.path in layout.LOGS:
                self.notes.append(f"{fault}. The run goes on: nothing is computed from it.")
                self.manifest.forget(fault.path)

    def _adopt(self, manifest: bool) -> None:
        """Take the files of a run without a manifest as they are."""
        if manifest:
            raise CorruptFileError(
                f"{self.path / MANIFEST} is missing or empty: nobody can tell whether the run's files are what was computed. "
                "Restore it from a copy."
            )
        if (self.path / layout.ENVIRONMENT).exists():
            self.notes.append(
                f"The run has no {MANIFEST}: an earlier version wrote it. Its files are taken as they are."
            )
        self.manifest.add({**self.manifest.found(ours(self.path))}, complete=False)

    @staticmethod
    def _may_be_mended(fault: Fault) -> bool:
        """Whether resuming may go on: settings are checked by their values, what is missing is computed again."""
        computed = fault.path.partition("/")[0] in layout.DIRECTORIES
        missing = fault.what == "is missing" and (computed or fault.path in layout.DERIVED)
        return missing or fault.path in (layout.CONFIG, MANIFEST, *layout.LOGS)

    def _refuse_other(self, path: Path, text: str) -> None:
        """Refuse a stage that was deleted and comes out differently, while stages that were computed from it are kept."""
        name = self._name(path)
        known = self.manifest.last(name)
        if not is_stage(name) or name in self.manifest.files or known in (None, entry_for(text)):
            return
        if not any(is_stage(other) and other > name for other in self.manifest.files):
            return
        raise CorruptFileError(
            f"{path} was deleted, and what is computed in its place is not the same. What comes after it was computed from "
            f"what it was. {remedy([name])}"
        )

    def _weights_of(self, path: Path, text: str) -> dict[str, Entry | None]:
        """The weights that a checkpoint's file speaks of, if its round has written them."""
        if path.name != layout.CHECKPOINT.file:
            return {}
        directory = self.path / Checkpoint.model_validate_json(text).path
        return self._entries_in(directory) if directory.parent == path.parent else {}

    def _entries_in(self, directory: Path) -> dict[str, Entry | None]:
        """The files of a directory that was just written, and none for those that it no longer has."""
        place, names = f"{self._name(directory)}/", names_in(self.path, directory)
        known = (name for name in self.manifest.files if name.startswith(place))
        facts = {name: self.weights.written.get(self.path / name) for name in names}
        written = {name: Entry(*fact) for name, fact in facts.items() if fact is not None}
        return {**dict.fromkeys(known), **self.manifest.found(names, written)}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def refuse(run: Path, faults: Sequence[Fault]) -> None:
    """Raises CorruptFileError if there are any."""
    if faults:
        raise CorruptFileError(
            f"{run} holds files that are not what the run wrote:\n"
            + "".join(f"  {fault}\n" for fault in faults[:_MOST_NAMED])
            + ("  ...\n" if len(faults) > _MOST_NAMED else "")
            + remedy([fault.path for fault in faults])
        )


def is_stage(name: str) -> bool:
    """Whether a file of a run, by its name relative to it, is a stage's or a round's figures."""
    parts = name.split("/")
    return (parts[0] == layout.ROUNDS and len(parts) == 3) or (parts[0] == layout.BASELINE and len(parts) == 2)


def remedy(names: Sequence[str]) -> str:
    """From where a run can go on whose files `names` are not what was written."""
    stages = sorted(_stage_of(name) for name in names if name.startswith(layout.IN_ROUNDS))
    others = [name for name in names if not name.startswith(layout.IN_ROUNDS)]
    if not others:
        first = stages[0]
        after = (
            f"the other files of {layout.BASELINE}/ and all rounds"
            if first.startswith(layout.BASELINE)
            else (f"what follows it in {first.rpartition('/')[0]}/ and all later rounds")
        )
        return (
            f"Restore them from a copy. Or delete {first}, {after}, and {METRICS}: resuming computes from there again."
        )
    if all(name in layout.DERIVED or name.startswith(f"{layout.MODEL}/") for name in others) and not stages:
        return f"Restore them from a copy. Or delete them and {METRICS}: resuming writes them again."
    return "Restore them from a copy, or start a new run."


def _stage_of(name: str) -> str:
    """Weights come with their checkpoint's stage."""
    parts = name.split("/")
    return name if len(parts) < 4 else f"{parts[0]}/{parts[1]}/{layout.CHECKPOINT.file}"
