"""Hashes of base models' files, kept in the user's cache, since the files are large and asked about at every start."""

import contextlib
import hashlib
from pathlib import Path

from iteralign.errors import RunDirectoryError
from iteralign.files import user_cache, write_text

_PARTS = (".json", ".safetensors", ".model", ".txt", ".jinja")
_MIB = 1 << 20
_SMALL = 64 * _MIB
"""Files below it are read each time: that takes less than a tenth of a second."""


def file_sha256(path: Path, *, fresh: bool = False) -> str:
    """Of the whole file; not read again while place, size, time and inode stay the same, unless `fresh`. Raises OSError."""
    path = path.resolve()
    facts = path.stat()
    what = f"{path}\n{facts.st_size}\n{facts.st_mtime_ns}\n{facts.st_ino}"
    fresh = fresh or facts.st_size < _SMALL
    kept = user_cache() / "hashes" / hashlib.sha256(what.encode()).hexdigest()[:32]
    if not fresh:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            known = kept.read_text(encoding="ascii").strip()
            if len(known) == 64:
                return known
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if facts.st_size >= _SMALL:
        with contextlib.suppress(RunDirectoryError):  # a cache that can't be written to costs time only
            write_text(kept, found + "\n")
    return found


def directory_hash(directory: Path, *, fresh: bool = False) -> str:
    """Of all files that make up a model. Raises OSError."""
    found = hashlib.sha256()
    for file in _parts(directory):
        found.update(f"{file.name} {file.stat().st_size} {file_sha256(file, fresh=fresh)}\n".encode())
    return f"files-{found.hexdigest()}"


def sampled_hash(directory: Path) -> str:
    """What earlier versions took: of each file the size and the first and last MiB."""
    found = hashlib.sha256()
    for file in _parts(directory):
        found.update(f"{file.name} {file.stat().st_size} ".encode())
        with file.open("rb") as content:
            found.update(content.read(_MIB))
            content.seek(max(0, file.stat().st_size - _MIB))
            found.update(content.read())
    return found.hexdigest()


def _parts(directory: Path) -> list[Path]:
    return [file for file in sorted(directory.iterdir()) if file.suffix in _PARTS and file.is_file()]
