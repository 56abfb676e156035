"""How alike two texts are, from 0 to 1: by their words, or by sentence embeddings."""

import functools
import re
from collections.abc import Callable, Sequence

from iteralign.errors import ConfigError, MissingExtraError

Similarity = Callable[[Sequence[str], Sequence[str]], list[list[float]]]
"""(rows, columns) -> a matrix of likenesses in 0..1."""


def by_words(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
    """The share of letters that two texts have in common once their words are sorted (rapidfuzz's token sort ratio)."""
    from rapidfuzz import fuzz, utils

    left, right = ([utils.default_process(text) for text in texts] for texts in (rows, columns))
    return [[fuzz.token_sort_ratio(one, other) / 100 for other in right] for one in left]


def taken_from(text: str, sources: Sequence[str]) -> float:
    """The share of the text's three-word sequences that stand in one of the sources, too."""
    own = _sequences(text)
    there = {sequence for source in sources for sequence in _sequences(source)}
    return sum(sequence in there for sequence in own) / len(own) if own else 0.0


def _sequences(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return [tuple(words[place : place + 3]) for place in range(len(words) - 2)]


def by_embeddings(model: str) -> Similarity:
    """Cosine of sentence embeddings by a sentence-transformers model (directory or hub id), loaded at its first use."""

    def similarity(rows: Sequence[str], columns: Sequence[str]) -> list[list[float]]:
        if not rows or not columns:
            return [[] for _ in rows]
        encode = _sentence_transformer(model).encode  # type: ignore[attr-defined]
        left, right = (
            encode(list(texts), normalize_embeddings=True, show_progress_bar=False) for texts in (rows, columns)
        )
        return [[max(0.0, min(1.0, float(value))) for value in row] for row in left @ right.T]

    return similarity


@functools.cache
def _sentence_transformer(model: str) -> object:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError(
            "constitution.embeddings needs sentence-transformers: pip install 'iteralign[embeddings]'."
        ) from error
    try:
        return SentenceTransformer(model, device="cpu")
    except (OSError, ValueError) as error:
        raise ConfigError(f"constitution.embeddings: {model} can't be loaded: {error}") from error
