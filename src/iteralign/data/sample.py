"""A part of a set in which every kind has its share."""

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import inf, sqrt
from typing import TypeVar

from iteralign.records import RedTeamPrompt

T = TypeVar("T")
Name = TypeVar("Name", bound=Hashable)


def stratified(items: Sequence[T], limit: int | None, kind: Callable[[T], Hashable], seed: int = 0) -> list[T]:
    """At most `limit` of the items, in their order: of each kind a seeded sample as large as its share, and at least one of
    each where there is room. The first of a file are often all of one kind."""
    if limit is None or limit >= len(items):
        return list(items)
    places: dict[Hashable, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(kind(item), []).append(place)
    seats = apportioned({name: len(members) for name, members in places.items()}, limit)
    draw = random.Random(seed)
    chosen = [place for name, members in places.items() for place in draw.sample(members, seats[name])]
    return [items[place] for place in sorted(chosen)]


def apportioned(sizes: Mapping[Name, int], seats: int) -> dict[Name, int]:
    """Seats by size: Huntington and Hill's method, by which everybody has one before anybody has two."""
    given = dict.fromkeys(sizes, 0)

    def claim(name: Name) -> tuple[float, int]:
        have, size = given[name], sizes[name]
        if have >= size:
            return -inf, 0
        return (size / sqrt(have * (have + 1)) if have else inf), size

    for _ in range(min(seats, sum(sizes.values()))):
        given[max(sizes, key=claim)] += 1
    return given


def prompt_kind(prompt: RedTeamPrompt) -> Hashable:
    """What a part of a prompt set has its share of."""
    return prompt.benign, prompt.category
