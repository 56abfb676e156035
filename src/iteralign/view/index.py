"""A run's answers, to be searched and paged on the server: an index in a temporary file, of which a page takes a few rows."""

import json
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.records import Verdict
from iteralign.report.answers import KINDS, Pair, benign_pairs, category_of, held_out_pairs, revision_pairs
from iteralign.rundir.labels import Place, drawn
from iteralign.rundir.reader import Run
from iteralign.scoreboard.metrics import final
from iteralign.view.apart import for_all_of

SETS = {
    "held-out": "Held-out red-team prompts",
    "benign": "Held-out benign prompts",
    "training": "Failures and how they were answered again",
    "asked": "All red-team prompts that were asked",
    "drawn": "Answers to be labelled, as chance draws them",
}
DRAWN = "drawn"
MEASURED = ("held-out", "benign")
_COLUMNS = "number integer primary key, name text, kind text, place integer, category text, words text, row text"
_BATCH = 500
_CACHE = 256
"""KiB of the database in memory: all rows are looked through for words, so more would only be filled and emptied."""


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

    def __init__(self, run: Path) -> None:
        """Raises RunDirectoryError."""
        self._lock = threading.Lock()
        self._file = tempfile.NamedTemporaryFile(prefix="iteralign-view-", suffix=".sqlite")  # noqa: SIM115  # for as long as self
        for_all_of(run, write_index, run, self._file.name)
        self._database = sqlite3.connect(self._file.name, check_same_thread=False)
        self._database.execute(f"pragma cache_size = -{_CACHE}")
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
            fit, page = 0, list[int]()
            for (number,) in cursor.execute(fitting, values):  # of all of them the page's alone are kept
                if query.start <= fit < query.start + query.count:
                    page.append(number)
                fit += 1
            known = f"select number, row from answers where number in ({', '.join('?' * len(page))})"
            rows = dict(cursor.execute(known, page))
        kinds, categories = (
            [value for name, value in self._choices[column] if name in query.names] for column in ("kind", "category")
        )
        order = {kind: place for place, kind in enumerate(KINDS)}
        return Hits(
            total=sum(self.counts[name] for name in query.names),
            fit=fit,
            kinds=sorted(set(filter(None, kinds)), key=lambda kind: order.get(kind, len(order))),
            categories=sorted(set(filter(None, categories))),
            rows=[json.loads(rows[number]) for number in page],
        )


Row = tuple[str, str, int, str, str, str]


def write_index(run: Path, file: str) -> None:
    """Put all answers into a database. Raises RunDirectoryError."""
    rows = _rows(Run(run))
    with closing(sqlite3.connect(file)) as database:
        database.executescript(
            f"pragma journal_mode = off; pragma synchronous = off; create table answers ({_COLUMNS});"
        )
        insert = "insert into answers (name, kind, place, category, words, row) values (?, ?, ?, ?, ?, ?)"
        while batch := [row for _, row in zip(range(_BATCH), rows, strict=False)]:
            database.executemany(insert, batch)
        database.execute("create index ordered on answers (name, place, number)")
        database.commit()


def _rows(run: Run) -> Iterator[Row]:
    rows = run.metrics()
    base, after = run.measurement(rows[0]), run.measurement(final(rows))
    rounds = (rows[0].round, final(rows).round)
    for pair in held_out_pairs(base.held_out, after.held_out):
        places = [Place(number, layout.HELD_OUT_VERDICTS, pair.prompt_id) for number in rounds]
        yield _pair("held-out", pair, places)
    for pair in benign_pairs(base.benign, after.benign):
        yield _pair("benign", pair, [None, None])
    for one in run.rounds():
        for pair in revision_pairs(one.revisions(), one.number):
            yield _pair("training", pair, [Place(one.number, layout.VERDICTS, pair.prompt_id), None])
        for verdict in one.verdicts():
            place = Place(one.number, layout.VERDICTS, verdict.response.prompt.id)
            yield _single("asked", verdict, place, verdict.label == "acceptable")
    for order, (place, verdict) in enumerate(drawn(run)):
        yield _single(DRAWN, verdict, place, order)


def _pair(name: str, pair: Pair, places: Sequence[Place | None]) -> Row:
    return _row(name, pair.row(), KINDS.index(pair.kind), (pair.question, pair.before.text, pair.after.text), places)


def _single(name: str, verdict: Verdict, place: Place, order: int) -> Row:
    """One answer, in the shape of a pair; of those to be labelled the judge's verdict is no kind to choose by."""
    response, prompt = verdict.response, verdict.response.prompt
    row = {
        "kind": "" if name == DRAWN else verdict.label,
        "id": prompt.id,
        "question": prompt.question,
        "category": prompt.category or "" if name == DRAWN else category_of(verdict),
        "before": response.text,
        "was": verdict.label,
        "after": None,
        "now": "",
        "reasons": [verdict.reason, ""],
        "round": None if name == DRAWN else place.round,
    }
    return _row(name, row, order, (prompt.question, response.text), [place])


def _row(name: str, row: dict[str, Any], order: int, texts: tuple[str, ...], places: Sequence[Place | None]) -> Row:
    words = "\n".join([row["id"], *texts]).casefold()
    shown = json.dumps({**row, "set": name, "places": places}, ensure_ascii=False)
    return name, row["kind"], order, row["category"], words, shown
