"""Replies kept by the content of their request, in one SQLite file shared by threads, runs and processes.

The key is a hash of endpoint, model, messages, sampling parameters, schema and sample number: two servers may call
different models by the same name, so the endpoint is part of it. Whatever the endpoint answered is kept, a refusal or
a reply cut short too; a call that failed is not.
"""

import json
import logging
import os
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from iteralign.files import user_cache

log = logging.getLogger(__name__)

_BUSY = 30.0  # seconds to wait for another process that writes
_SCHEMA = """
create table if not exists replies (
    key text primary key,
    model text not null,
    created real not null,
    reply text not null
) without rowid
"""


@dataclass(frozen=True)
class CacheStats:
    """What the cache holds."""

    path: Path
    replies: int
    size_bytes: int
    by_model: dict[str, int]
    oldest: float | None
    """Seconds since the epoch; None for an empty cache."""


def default_path() -> Path:
    """`iteralign/replies.sqlite` in the user's cache directory: $XDG_CACHE_HOME, else ~/.cache."""
    return user_cache() / "replies.sqlite"


class ReplyCache:
    """Replies by key. A cache that can't be used is a warning, not the end of a run."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self.problem: str | None = None
        """Why the cache can't be used, or None."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = self._open()
        except (OSError, sqlite3.Error) as error:
            self._warn("opened", error)

    def get(self, key: str) -> dict[str, object] | None:
        """The reply's fields as `put` was given them, or None."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                row = self._connection.execute("select reply from replies where key = ?", (key,)).fetchone()
                found = json.loads(row[0]) if row else None
            except (sqlite3.Error, ValueError) as error:
                self._warn("read", error)
                return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, model: str, reply: dict[str, object]) -> None:
        """Keep a reply; the first one stays where two processes asked the same at the same time."""
        row = (key, model, time.time(), json.dumps(reply, ensure_ascii=True))
        with self._lock:
            if self._connection is None:
                return
            try:
                self._connection.execute("insert or ignore into replies values (?, ?, ?, ?)", row)
            except sqlite3.Error as error:
                self._warn("written", error)

    def forget(self, key: str) -> None:
        """Keep this reply no longer."""
        with self._lock:
            if self._connection is None:
                return
            try:
                self._connection.execute("delete from replies where key = ?", (key,))
            except sqlite3.Error as error:
                self._warn("written", error)

    def stats(self) -> CacheStats:
        """Number of replies, in all and by model, and the size on disk."""
        with self._lock:
            rows: list[tuple[str, int, float]] = []
            if self._connection is not None:
                query = "select model, count(*), min(created) from replies group by model order by model"
                rows = self._connection.execute(query).fetchall()
        size = sum(file.stat().st_size for file in self._files() if file.exists())
        by_model = {model: count for model, count, _ in rows}
        oldest = min((created for _, _, created in rows), default=None)
        return CacheStats(self.path, sum(by_model.values()), size, by_model, oldest)

    def clear(self, model: str | None = None) -> int:
        """Forget all replies, or those of one model; returns how many there were."""
        with self._lock:
            if self._connection is None:
                return 0
            where, values = ("where model = ?", (model,)) if model is not None else ("", ())
            count = self._connection.execute(f"delete from replies {where}", values).rowcount
            self._connection.execute("vacuum")
            self._connection.execute("pragma wal_checkpoint(truncate)")
        return int(count)

    def close(self) -> None:
        """Close the file; later reads find nothing."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            os.close(
                os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
            )  # what people asked may be nobody else's business
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _files(self) -> list[Path]:
        return [self.path, *(self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm"))]

    def _warn(self, what: str, error: Exception) -> None:
        if self.problem is None:
            self.problem = f"{self.path} can't be {what}: {error}"
            log.warning("The reply cache %s can't be %s (%s); calls may be paid for again.", self.path, what, error)


def _prepare(connection: sqlite3.Connection) -> None:
    """Set the file up, again and again while another process does the same.

    SQLite waits for no lock here: who holds one lock of a new file and wants the next is told at once that it is busy.
    """
    end = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.execute(_SCHEMA)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
