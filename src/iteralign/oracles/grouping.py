"""Failures in groups that a proposer can read at once: of one kind, alike, bounded in number and length."""

from collections.abc import Callable, Iterator, Sequence

from iteralign.records import Verdict
from iteralign.text.similarity import Similarity, by_words

MOST = 16
"""Failures in a group at most."""


def groups(
    failures: Sequence[Verdict],
    length: Callable[[Verdict], int],
    max_characters: int,
    *,
    most: int = MOST,
    similarity: Similarity = by_words,
) -> Iterator[list[Verdict]]:
    """By the judge's category, the largest first; within one, questions that are alike next to each other.

    Categories with one failure go together, since a call for each would cost more than it tells. A group has at most
    `most` failures, and `max_characters` as `length` counts them unless it is a single failure.
    """
    kinds: dict[str | None, list[Verdict]] = {}
    for failure in failures:
        kinds.setdefault(failure.category, []).append(failure)
    large = sorted((kind for kind in kinds.values() if len(kind) > 1), key=len, reverse=True)
    single = [failure for kind in kinds.values() if len(kind) == 1 for failure in kind]
    for kind in [*large, single]:
        yield from _cut(_neighbours_together(kind, similarity), length, max_characters, most)


def _neighbours_together(failures: Sequence[Verdict], similarity: Similarity) -> list[Verdict]:
    """From the first on, always the one most like the last; in their order where nothing is to be told apart."""
    if len(failures) < 3:
        return list(failures)
    questions = [failure.response.prompt.question for failure in failures]
    alike = similarity(questions, questions)
    order, left = [0], list(range(1, len(failures)))
    while left:
        here = order[-1]
        nearest = max(left, key=lambda index: (alike[here][index], -index))
        order.append(nearest)
        left.remove(nearest)
    return [failures[index] for index in order]


def _cut(
    failures: Sequence[Verdict], length: Callable[[Verdict], int], max_characters: int, most: int
) -> Iterator[list[Verdict]]:
    group: list[Verdict] = []
    size = 0
    for failure in failures:
        if group and (size + length(failure) > max_characters or len(group) == most):
            yield group
            group, size = [], 0
        group.append(failure)
        size += length(failure)
    if group:
        yield group
