"""One process at a time works on a run."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from iteralign.errors import RunDirectoryError
from iteralign.rundir.layout import LOCK


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run; the operating system lets go of it when the process ends, however it ends."""
    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
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
