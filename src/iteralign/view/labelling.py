"""Rows of answers as a page shows them, with what people said of each."""

from dataclasses import replace
from typing import Any

from iteralign.rundir.labels import PersonLabel, Place, labels_of, sample
from iteralign.rundir.reader import Run
from iteralign.view.index import DRAWN, AnswerIndex, Query


def with_labels(run: Run, index: AnswerIndex, query: Query) -> dict[str, Any]:
    """What the query finds, as the page's script reads it. The answers that chance draws begin behind those that are labelled;
    their verdicts are not told before the person's, who might be led by them."""
    if query == Query(names=(DRAWN,), count=query.count):
        query = replace(query, start=len(sample(run)))
    found, labels = index.find(query), labels_of(run)
    for row in found.rows:
        places = [None if place is None else Place(*place) for place in row["places"]]
        row["labels"] = [_shown(None if place is None else labels.get(place)) for place in places]
        if row["set"] == DRAWN and row["labels"][0] is None:
            row["was"], row["reasons"] = "", ["", ""]
    return {**vars(found), "start": query.start}


def _shown(label: PersonLabel | None) -> dict[str, Any] | None:
    return None if label is None else {"label": label.label, "by": label.by}
