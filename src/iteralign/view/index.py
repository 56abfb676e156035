"""A run's answers, to be searched and paged on the server: an index in a temporary file, of which a page takes a few rows."""

import json
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iteralign.records import Verdict
from iteralign.report.answers import KINDS, benign_pairs, category_of, held_out_pairs, revision_pairs
from iteralign.rundir.reader import Run

SETS = {
    "held-out": "Held-out red-team prompts",
    "benign": "Held-out benign prompts",
    "training": "Failures and how they were answered again",
    "asked": "All red-team prompts that were asked",
}
MEASURED = ("held-out", "benign")
_COLUMNS = "number integer primary key, name text, kind text, place integer, category text, words text, row text"
_BATCH = 500


@dataclass(frozen=True)
class Query:
    """What a page asks for."""

    names: tuple[str, ...] = MEASURED
    became: str = ""
    """What became of the answer, or its label."""
    category: str = ""
    words: str = ""
    start: int = 0
    count: int = 20


@dataclass(frozen=True)
class Hits:
    """What fits."""

    total: int
    """Rows of the sets."""
    fit: int
    kinds: list[str]
    """In the sets, to choose from."""
    categories: list[str]
    rows: list[dict[str, Any]]
    """As the page's script reads them."""


class AnswerIndex:
    """Of one run, as it was when the index was made. Safe for threads."""

    def __init__(self, run: Run) -> None:
        self._lock = threading.Lock()
        self._file = tempfile.NamedTemporaryFile(prefix="iteralign-view-", suffix=".sqlite")  # noqa: SIM115  # for as long as self
        self._database = sqlite3.connect(self._file.name, check_same_thread=False)
        self._database.executescript(
            f"pragma journal_mode = off; pragma synchronous = off; create table answers ({_COLUMNS});"
        )
        insert = "insert into answers (name, kind, place, category, words, row) values (?, ?, ?, ?, ?, ?)"
        rows = _rows(run)
        while batch := [row for _, row in zip(range(_BATCH), rows, strict=False)]:
            self._database.executemany(insert, batch)
        self._database.execute("create index ordered on answers (name, place, number)")
        self._database.commit()
        self.counts = Counter[str](dict(self._database.execute("select name, count(*) from answers group by name")))
        """Rows of each set."""
        self._choices = {
            column: set(self._database.execute(f"select distinct name, {column} from answers"))
            for column in ("kind", "category")
        }

    def close(self) -> None:
        """Its file goes."""
        self._database.close()
        self._file.close()

    def find(self, query: Query) -> Hits:
        """The rows of a page, what a reader must not miss first."""
        named = f"name in ({', '.join('?' * len(query.names))})"
        where, values = [named], list[Any](query.names)
        for column, wanted in (("kind", query.became), ("category", query.category)):
            if wanted:
                where.append(f"{column} = ?")
                values.append(wanted)
        if query.words:
            where.append("instr(words, ?)")
            values.append(query.words.casefold())
        fitting = f"select number from answers where {' and '.join(where)} order by place, number"
        with self._lock, closing(self._database.cursor()) as cursor:
            fit = [number for (number,) in cursor.execute(fitting, values)]
            page = fit[query.start : query.start + query.count]
            known = f"select number, row from answers where number in ({', '.join('?' * len(page))})"
            rows = dict(cursor.execute(known, page))
        kinds, categories = (
            [value for name, value in self._choices[column] if name in query.names] for column in ("kind", "category")
        )
        order = {kind: place for place, kind in enumerate(KINDS)}
        return Hits(
            total=sum(self.counts[name] for name in query.names),
            fit=len(fit),
            kinds=sorted(set(kinds), key=lambda kind: order.get(kind, len(order))),
            categories=sorted(set(filter(None, categories))),
            rows=[json.loads(rows[number]) for number in page],
        )


def _rows(run: Run) -> Iterator[tuple[str, str, int, str, str, str]]:
    base, after = run.before_and_after()
    for name, pairs in (
        ("held-out", held_out_pairs(base.held_out, after.held_out)),
        ("benign", benign_pairs(base.benign, after.benign)),
    ):
        for pair in pairs:
            yield _row(name, pair.row(), (pair.question, pair.before.text, pair.after.text))
    for one in run.rounds():
        for pair in revision_pairs(one.revisions(), one.number):
            yield _row("training", pair.row(), (pair.question, pair.before.text, pair.after.text))
        for verdict in one.verdicts():
            yield _row("asked", _asked(verdict, one.number), (verdict.response.prompt.question, verdict.response.text))


def _row(name: str, row: dict[str, Any], texts: tuple[str, ...]) -> tuple[str, str, int, str, str, str]:
    words = "\n".join([row["id"], *texts]).casefold()
    place = KINDS.index(row["kind"]) if row["kind"] in KINDS else row["kind"] == "acceptable"
    return name, row["kind"], place, row["category"], words, json.dumps({**row, "set": name}, ensure_ascii=False)


def _asked(verdict: Verdict, number: int) -> dict[str, Any]:
    """A prompt with one answer, in the shape of a pair."""
    response = verdict.response
    return {
        "kind": verdict.label,
        "id": response.prompt.id,
        "question": response.prompt.question,
        "category": category_of(verdict),
        "before": response.text,
        "was": verdict.label,
        "after": None,
        "now": "",
        "reasons": [verdict.reason, ""],
        "round": number,
    }


def open_index(run: Path) -> AnswerIndex:
    """Raises RunDirectoryError."""
    return AnswerIndex(Run(run))
