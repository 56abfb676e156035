"""One round's stages on disk. A stage's file appears whole or not at all, so what is there can be read back."""

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from iteralign.files import write_text
from iteralign.layout import CHECKPOINT, Stage, stage_named
from iteralign.records import Record
from iteralign.rundir.jsonl import as_lines, read_record, read_records

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Record)


class Stages:
    """One round's stages: computed and kept, or read back."""

    def __init__(
        self,
        directory: Path,
        log: Callable[[str, float], None] = lambda stage, seconds: None,
        commit: Callable[[Path, str], None] = write_text,
        around: Callable[[str], contextlib.AbstractContextManager[None]] = lambda stage: contextlib.nullcontext(),
    ) -> None:
        """`around`: entered around each stage that is computed."""
        self.directory = directory
        self._log = log
        self._commit = commit
        self._around = around

    def told(self, around: Callable[[str], contextlib.AbstractContextManager[None]]) -> "Stages":
        """The same stages with this around each, for progress."""
        return Stages(self.directory, self._log, self._commit, around)

    def __call__(self, stage: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`step(*args, **kwargs)`, kept as `stage` (the name of one in layout.STAGES): a list of records, or one record."""
        kept = self.read(stage)
        if kept is not None:
            return cast(T, kept)
        self.directory.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        with self._around(stage):
            result = step(*args, **kwargs)
        text = (
            f"{result.model_dump_json()}\n" if isinstance(result, Record) else as_lines(cast(Iterable[Record], result))
        )
        self._commit(self.directory / _known(stage).file, text)
        self._log(f"{self.directory.name}/{stage}", time.perf_counter() - begin)
        return result

    def kept(self, *stages: str) -> bool:
        """Whether all of these are."""
        return all((self.directory / _known(stage).file).exists() for stage in stages)

    def read(self, stage: str) -> list[Record] | Record | None:
        """What is kept as `stage`; None if nothing is."""
        kept = read_stage(self.directory, _known(stage))
        return kept[0] if kept is not None and stage == CHECKPOINT else kept


def read_stage(directory: Path, stage: Stage[R]) -> list[R] | None:
    """The records of a stage, of which a checkpoint's has one; None where it is not there. Raises CorruptFileError."""
    path = directory / stage.file
    if not path.exists():
        return None
    return [read_record(path, stage.kind)] if stage == CHECKPOINT else read_records(path, stage.kind)


def _known(stage: str) -> Stage[Record]:
    found = stage_named(stage)
    if found is None:
        raise ValueError(f"{stage} is no stage of a run directory.")
    return found
