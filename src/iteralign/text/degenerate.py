"""Text that nothing can be learnt from: empty, the same over and over, or words without connection.

Counts of words alone, no list and no model, so that it holds for many languages. docs/oracles.md has what was measured, and
what it misses.
"""

import re
from collections.abc import Sequence

_LONGEST_CYCLE = 12  # words
_REPEATS = 4

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""A letter of Chinese or Japanese, which put no spaces between words, is a word of its own."""
_LEAST = 40
"""Words below which too little can be counted."""
_SEQUENCE, _SAID_BEFORE = 4, 0.5
"""Share of the sequences of so many words that have stood in the answer before: above it the answer goes in circles."""
_WINDOW, _FAMILIAR = 60, 0.04
"""Share of any so many words in a row that have stood among them before: below it they are not a text. Speech in every
language comes back to its small words and to what it is about."""


def is_degenerate(text: str) -> bool:
    """Whether anything is wrong with the answer as a text, whatever it says."""
    return what_is_wrong(text) is not None


def what_is_wrong(text: str) -> str | None:
    """Why nothing can be learnt from the answer, for people; None for an ordinary one."""
    if not text.strip():
        return "the answer is empty"
    if _ends_in_a_cycle(text.split()) or (len(text) >= 2 * _LONGEST_CYCLE and len(set(text)) <= 2):
        return "the answer repeats itself endlessly"
    words = _WORD.findall(text.casefold())
    if len(words) < _LEAST:
        return None
    if (
        _said_before([tuple(words[place : place + _SEQUENCE]) for place in range(len(words) - _SEQUENCE + 1)])
        > _SAID_BEFORE
    ):
        return "the answer says the same over and over"
    if any(_said_before(words[start : start + _WINDOW]) < _FAMILIAR for start in _window_starts(len(words))):
        return "the answer's words have no connection"
    return None


def _ends_in_a_cycle(words: Sequence[str]) -> bool:
    """Whether they end in the same one to twelve words over and over."""
    for cycle in range(1, _LONGEST_CYCLE + 1):
        repeats = _REPEATS if cycle > 2 else 3 * _REPEATS // cycle + 2
        tail = words[-cycle * repeats :]
        if len(tail) == cycle * repeats and all(tail[i] == tail[i % cycle] for i in range(len(tail))):
            return True
    return False


def _said_before(items: Sequence[object]) -> float:
    """The share that repeats an earlier one."""
    return 1 - len(set(items)) / len(items)


def _window_starts(words: int) -> range:
    """Every tenth place that has a whole window behind it; the beginning where none has."""
    return range(0, max(1, words - _WINDOW + 1), 10)
