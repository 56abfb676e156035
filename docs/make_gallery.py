"""Puts finished runs into docs/gallery.md: ``python docs/make_gallery.py "TITLE" RUN ["TITLE" RUN ...]``.

Those in it already stay. A new one comes first; one of a title that is there takes its place. That is the whole step.
The figures are those of the runs' own reports, by the same view model. No question or answer of a run is in it, so that no
data set comes into the repository.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from iteralign.report.gains import in_points
from iteralign.report.principles import PrincipleRow, PrincipleTable
from iteralign.report.view import View, view_of
from iteralign.text.control import in_markdown

HEAD = """# Gallery of constitutions

What runs discovered, as they discovered it: every principle that was proposed, adopted or not, with what was measured of it.
None was left out or polished. The figures are those of each run's report, which
[says what the columns mean](report.md#what-each-part-shows-and-what-it-cant).

*This page is made from finished runs (`python docs/make_gallery.py`).*
"""


def gallery(runs: list[tuple[str, View]], page: str = HEAD) -> str:
    """The page with these runs, and those that it has."""
    there = {section.partition("\n")[0]: f"\n## {section}" for section in page.split("\n## ")[1:]}
    made = {title: "\n".join(_run(title, view)) for title, view in runs}
    return HEAD + "".join(({title: text for title, text in made.items() if title not in there} | there | made).values())


def _run(title: str, view: View) -> Iterator[str]:
    facts, table = view.facts, view.constitution.principles
    yield from (
        f"\n## {title}\n",
        f"Model `{Path(facts.model).name}`, judge `{facts.judge}`, iteralign {facts.version}.\n",
    )
    if view.result.learnt:
        yield f"{'; '.join(map(str, view.result.gained.gains))}.\n"
    if view.result.ending is not None:
        yield f"{in_markdown(view.result.ending.happened)}\n"
    yield from _table("Adopted", table, table.adopted)
    yield from _table("Not adopted", table, table.others)
    yield "What these figures can't show:\n"
    yield from (f"- {sentence}" for sentence in view.limits)
    yield ""


def _table(title: str, table: PrincipleTable, rows: list[PrincipleRow]) -> Iterator[str]:
    if rows:
        heads = ["principle", "evidence", "lift", "benign refusals", "trained on", "its failures"]
        yield f"### {title}: {len(rows)}\n"
        yield f"| {' | '.join(heads)} |"
        yield "|---|" + "--:|" * (len(heads) - 1)
        yield from (f"| {' | '.join(_cells(row))} |" for row in rows)
        yield ""


def _cells(row: PrincipleRow) -> Iterator[str]:
    why = f"<br>*{in_markdown(row.why)}*" if row.why else ""
    yield f"{in_markdown(row.text)}{why}".replace("|", "\\|").replace("\n", " ")
    yield str(row.evidence)
    yield in_points(row.lift) if row.lift else "–"
    yield f"{row.benign.with_it} of {row.benign.total}" if row.benign else "–"
    yield str(row.trained_on)
    yield f"{row.before} → {row.after}" if row.before else "–"


if __name__ == "__main__":
    given = sys.argv[1:]
    found = [(title, view_of(Path(run))) for title, run in zip(given[::2], given[1::2], strict=True)]
    place = Path(__file__).with_name("gallery.md")
    place.write_text(gallery(found, place.read_text(encoding="utf-8")), encoding="utf-8")
