"""The weights that a run has trained: read as they were written, and computed with as the run began."""

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.records import Checkpoint
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


_SEEN = 60.0  # seconds until a shared directory shows what another machine has put there


class SharedWeights(Storage):
    """The same in another process of the run, maybe on another machine: the run's own has looked at the weights before it
    names them, and says what to compute with."""

    def __init__(self, root: Path, arithmetic: Mapping[str, Any]) -> None:
        """Raises TargetError where `root` is not there."""
        super().__init__(root)
        self._arithmetic = arithmetic
        if not root.is_dir():
            raise TargetError(
                f"{root} is not there on {platform.node()}: all nodes of the cluster must see the run directory under the "
                "same path."
            )

    def arithmetic(self) -> Mapping[str, Any]:
        """What the run's own process computes with."""
        return self._arithmetic

    def place(self, checkpoint: Checkpoint) -> Path:
        """The directory of trained weights, for which it may wait for a while."""
        until = time.monotonic() + _SEEN
        while not (self.root / checkpoint.path).is_dir() and time.monotonic() < until:
            time.sleep(0.2)
        return super().place(checkpoint)
