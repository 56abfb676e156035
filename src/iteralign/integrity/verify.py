"""`iteralign verify`: whether every file of a run is what was written, and fits the others."""

from dataclasses import dataclass, field
from pathlib import Path

from iteralign import layout
from iteralign.errors import CorruptFileError, IteralignError, RunDirectoryError
from iteralign.files import is_there
from iteralign.integrity.counts import contradictions
from iteralign.rundir.begun import holds_a_run, read_environment
from iteralign.rundir.kept_files import remedy
from iteralign.rundir.manifest import Fault, Manifest
from iteralign.settings.settings import CHANGEABLE, as_text, differing_keys, load_settings
from iteralign.weights.files import ModelFiles


@dataclass(frozen=True)
class Verified:
    """What was checked, and what was found."""

    run: Path
    files: int
    """Whose hash was compared; 0 where the run has no manifest."""
    bytes: int
    manifest: bool
    """False for a run of an earlier version: only what its files say of each other was compared."""
    problems: list[str] = field(default_factory=list)
    """One line each; empty where all is as it was written."""
    remedy: str | None = None
    """From where the run can go on."""

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify_run(run: Path, *, big: bool = True) -> Verified:
    """Check a run, also one that goes on. Without `big`, whole models (RUN/model, full checkpoints) by their size alone.

    Raises RunDirectoryError for a directory that holds no run.
    """
    if not any(is_there(run / name) for name in (layout.CONFIG, layout.ENVIRONMENT, layout.MANIFEST)):
        raise RunDirectoryError(f"{run} holds no run.")
    try:
        manifest = Manifest(run)
    except CorruptFileError as error:
        return Verified(run, 0, 0, False, [str(error)])
    faults = list(manifest.faults(big=big)) if manifest else []
    faults += _missing(run, manifest)
    if not faults:  # else it would be told twice
        faults += [*_settings(run), *contradictions(run)] if (run / layout.ENVIRONMENT).exists() else []
    if big and not faults:
        faults += _base(run)
    entries = [*manifest.files.values(), *manifest.logs.values()]
    named = [fault.path for fault in faults if fault.path in manifest.files and fault.path != layout.CONFIG]
    return Verified(
        run=run,
        files=len(entries),
        bytes=sum(entry.size for entry in entries),
        manifest=bool(manifest),
        problems=[str(fault) for fault in faults],
        remedy=remedy(named) if named else None,
    )


def _missing(run: Path, manifest: Manifest) -> list[Fault]:
    """What a run that has begun can't be without."""
    begun = any((run / name).exists() for name in (layout.BASELINE, layout.ROUNDS))
    names = [name for name in (layout.CONFIG, layout.ENVIRONMENT) if begun and not (run / name).exists()]
    found = [Fault(name, "is missing, and the run has begun") for name in names if name not in manifest.files]
    if not manifest and layout.ENVIRONMENT not in names and begun:
        try:
            promised = read_environment(run).get("manifest")
        except IteralignError as error:
            return [*found, Fault(layout.ENVIRONMENT, f"can't be read: {error}")]
        found += [Fault(layout.MANIFEST, "is missing or empty")] if promised else []
    return found


def _base(run: Path) -> list[Fault]:
    """Whether the base model is the one that the run began with, where it lies on this machine."""
    try:
        begun = read_environment(run)["model"]
        path, fingerprint = str(begun["path"]), str(begun["fingerprint"])
    except (IteralignError, LookupError, TypeError):
        return []  # not begun
    if not is_there(Path(path).expanduser()):
        return []
    same = ModelFiles(path).is_still(fingerprint, fresh=True)
    return [] if same else [Fault(path, "is not the base model that the run began with: its files have changed")]


def _settings(run: Path) -> list[Fault]:
    """Whether the settings are those that the run began with, but for what may change."""
    if not holds_a_run(run):
        return []
    try:
        now = load_settings(run / layout.CONFIG)
        begun = load_settings(read_environment(run)["settings"])
    except IteralignError as error:
        return [Fault(layout.CONFIG, f"can't be read: {error}")]
    fixed = {key: pair for key, pair in differing_keys(begun, now).items() if key not in CHANGEABLE}
    return [Fault(layout.CONFIG, f"has other settings than the run began with: {as_text(fixed)}")] if fixed else []
