"""The weights that a run has trained: read as they were written, and computed with as the run began."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iteralign.rundir.begun import has_begun, read_environment
from iteralign.rundir.kept_files import refuse
from iteralign.rundir.manifest import Manifest
from iteralign.weights.storage import Storage


class RunWeights(Storage):
    """Those below the run directory `root`, which need not be there yet."""

    def arithmetic(self) -> Mapping[str, Any] | None:
        """What `RunDirectory.start` wrote down; None: a run of an earlier version, or begun without a model."""
        return read_environment(self.root).get("arithmetic") if has_begun(self.root) else {}

    def check(self, directory: Path) -> None:
        """Raises CorruptFileError unless the manifest has these weights just as they are."""
        refuse(self.root, Manifest(self.root).faults_in(directory.relative_to(self.root).as_posix()))
