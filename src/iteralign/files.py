"""Files that appear whole or not at all, and logs that survive a torn line.

What is written goes to a place beside, is flushed to disk, and is renamed; a process killed in between leaves a `.part`,
which the next attempt replaces.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from iteralign.errors import ConfigError, CorruptFileError, RunDirectoryError
from iteralign.text.bounded import load_json, opened

_FLUSHED_AT_ONCE = 8


def write_text(path: Path, text: str) -> None:
    """The file appears whole or not at all, also when the machine stops; missing directories are made. Raises
    RunDirectoryError."""
    write_texts({path: text})


def write_texts(texts: Mapping[Path, str], announce: Callable[[], None] = lambda: None) -> None:
    """The same for several files, which appear in their order; `announce` is called once all are on disk and none has
    appeared. What waits for the disk waits once, however many they are. Raises RunDirectoryError."""
    beside, at = {path: _beside(path) for path in texts}, Path()
    try:
        for at, place in beside.items():
            at.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(texts[at], encoding="utf-8")
        _flush_all(list(beside.values()))
        announce()
        for at, place in beside.items():
            place.replace(at)
    except (OSError, RunDirectoryError) as error:
        for place in beside.values():
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
        if isinstance(error, RunDirectoryError):
            raise
        raise cannot_write(at, error) from error


def check_outputs(*paths: Path, force: bool = False) -> None:
    """That each of these files can be written, and none is there already unless `force`: asked before anything is computed.
    Missing directories are made by the writing. Raises ConfigError."""
    for path in paths:
        if path.is_dir():
            raise ConfigError(f"{path} is a directory. Name a file, such as {path / 'FILE'}.")
        if path.exists() and not force:
            raise ConfigError(f"{path} exists already. Choose another name, or overwrite it by --force.")
        why = why_not_below(path.absolute().parent)
        if why is not None:
            raise ConfigError(f"{path} can't be written: {why}. Choose another place.")
    if len({path.absolute() for path in paths}) < len(paths):
        raise ConfigError(f"Two outputs have one name: {', '.join(map(str, paths))}. Choose another for one of them.")


def is_there(path: Path) -> bool:
    """Unlike Path.exists False also for a name that is too long for any file."""
    return os.path.exists(path)


def why_not_below(directory: Path) -> str | None:
    """Why nothing can be written into a directory that may still have to be made; None where it can."""
    place = directory.absolute()
    while not is_there(place):
        place = place.parent
    if not place.is_dir():
        return f"{place} is no directory"
    longest = os.pathconf(place, "PC_NAME_MAX")
    if any(len(os.fsencode(name)) > longest for name in directory.parts):
        return f"a name in it is longer than {longest} bytes"
    return None if os.access(place, os.W_OK) else f"{place} may not be written to"


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A directory to write into that becomes `path` at the end, or vanishes on an error. Raises RunDirectoryError."""
    place = _beside(path)
    try:
        _remove(place)  # left by an attempt that was killed
        place.mkdir(parents=True)
        try:
            yield place
            for file in place.rglob("*"):
                _flush(file)
            _remove(path)  # left by an attempt that broke off after this point
            place.replace(path)
            _flush(path.parent)
        finally:
            _remove(place)
    except Exception as error:
        if isinstance(error, OSError) or "I/O error" in str(error):  # safetensors has an error type of its own
            raise cannot_write(path, error) from error
        raise


@contextlib.contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """`path` with .part behind it, empty, and gone afterwards; one that a killed attempt left is emptied."""
    place = _beside(path)
    try:
        _remove(place)
        place.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(place, error) from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def user_cache() -> Path:
    """What runs share: `iteralign` in the user's cache directory ($XDG_CACHE_HOME, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "iteralign"


def append_line(path: Path, values: dict[str, Any]) -> None:
    """One line of JSONL at the end of a log, also behind a torn one. Raises RunDirectoryError."""
    try:
        with path.open("a+b") as file:
            torn = b"\n" if file.tell() and not _ends_with_newline(path) else b""
            file.write(torn + json.dumps(values).encode() + b"\n")
    except OSError as error:
        raise cannot_write(path, error) from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; torn ones are left out. Raises RunDirectoryError where it can't be read at all."""
    return list(each_entry(path))


def each_entry(path: Path) -> Iterator[dict[str, Any]]:
    """The same one after another: of a large run they are many."""
    try:
        with opened(path) as file:
            for line in file:
                entry = _value(line.decode("utf-8", "replace"))
                if isinstance(entry, dict):
                    yield entry
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunDirectoryError(f"{path} can't be read: {error.strerror or error}.") from error


def _value(line: str) -> Any:
    """What a line of a log says; None for a torn one."""
    try:
        return load_json(line)
    except ValueError:
        return None


def count_records(path: Path) -> int:
    """Lines of a JSONL file, none of which is looked at. Raises CorruptFileError."""
    try:
        with opened(path) as file:
            return sum(map(bool, map(bytes.strip, file)))
    except OSError as error:
        raise CorruptFileError(f"{path} can't be read: {error.strerror or error}.") from error


def size_text(count: int) -> str:
    """Bytes in a readable unit."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def number(value: object) -> float:
    """A figure of a log's line; 0 for what is none."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max
    return float(value) if known else 0.0  # type: ignore[arg-type]


def cannot_write(path: Path, error: Exception) -> RunDirectoryError:
    """The error to raise when the disk is full or may not be written to."""
    why = getattr(error, "strerror", None) or error
    return RunDirectoryError(
        f"{path} can't be written: {why}. Nothing before it is lost: make room or mend the permissions, then do the same "
        "again; a run goes on by `iteralign resume RUN`."
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)


def _flush_all(paths: Sequence[Path]) -> None:
    """Many at once: what waits for the disk at the same time waits once."""
    if len(paths) == 1:
        _flush(paths[0])
        return
    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
        list(pool.map(_flush, paths))


def _flush(path: Path) -> None:
    """Force what is written to disk; a directory's entries too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
