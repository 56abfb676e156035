"""How likely a model finds Yes, read from the candidates for its reply's first token."""

import math
from collections.abc import Sequence

from iteralign.oracles.reading import Unreadable

_LEAST = 0.5
"""Probability that Yes and No together must have: below it, the model was about to say something else."""
_NEVER = 1e-30  # what some servers tell as -inf or -9999
_AROUND = " \t\r\n\"'`*([{.:\u2581\u0120"
"""What may stand around the word in a token; the last two are a space as tokenizers write it."""


def log_odds(first: Sequence[tuple[str, float]]) -> float:
    """Of Yes against No, from (token, log-probability). Whatever the case, and where a token is only the word's beginning.

    A word that is not among the candidates is as likely as the least of them at most. Raises Unreadable.
    """
    yes, no = _mass(first, "yes"), _mass(first, "no")
    if yes + no < _LEAST:
        said = max(first, key=lambda one: one[1])[0] if first else ""
        raise Unreadable(f"the reply begins with neither Yes nor No, but with {said[:20]!r}")
    least = max(_NEVER, math.exp(min(score for _, score in first)))
    return math.log(max(yes, least)) - math.log(max(no, least))


def _mass(first: Sequence[tuple[str, float]], word: str) -> float:
    return math.fsum(math.exp(score) for token, score in first if _begins(token.strip(_AROUND).casefold(), word))


def _begins(token: str, word: str) -> bool:
    return bool(token) and word.startswith(token)
