"""Questions that are written while a run goes on: kept apart from those that are there."""

from collections.abc import Sequence

from iteralign.data.split import same_question_key
from iteralign.text.similarity import Similarity

_TOO_ALIKE = 0.85
"""Of a near-copy, by words."""
_LONGEST = 600  # characters


def new_questions(written: Sequence[str | None], known: Sequence[str], alike: Similarity) -> list[str | None]:
    """Each in one line. None where it is of no question's length, or a near-copy of a known one or of one before it."""
    there, keys = list(known), {same_question_key(text) for text in known}
    kept = list[str | None]()
    for text in map(_tidy, written):
        if text and same_question_key(text) not in keys and max(alike([text], there)[0], default=0.0) < _TOO_ALIKE:
            kept.append(text)
            there.append(text)
            keys.add(same_question_key(text))
        else:
            kept.append(None)
    return kept


def _tidy(text: str | None) -> str:
    """Nothing where it is too long."""
    line = " ".join((text or "").split())
    return line if len(line) <= _LONGEST else ""
