"""How many rounds to answer at once: as many as are likely to be of use, at what they cost."""

import math
from collections import deque

_WINDOW = 64  # rounds
_COST_BEFORE_MEASURED = 0.5
_LIKELY = 2 / 3
"""With a half, runs in which 10 to 30% of the rounds fail gain 1% and waste 1.4 to 1.9 times as much (docs/log.md)."""


class Depth:
    """Chooses a block's size from the failure rate of the last rounds and from the measured cost of larger blocks."""

    def __init__(self, most: int) -> None:
        """`most`: the largest block, in rounds; 1 answers no round ahead."""
        self.most = most
        self.further = _COST_BEFORE_MEASURED
        """Time that a further round adds to a block, as a share of what a round by itself takes: 1 gains nothing."""
        self._failed: deque[bool] = deque(maxlen=_WINDOW)
        self._alone: float | None = None

    def judged(self, failed: bool) -> None:
        """A round's verdicts are in."""
        self._failed.append(failed)

    def took(self, rounds: float, seconds: float) -> None:
        """A block of so many rounds was answered in so many seconds."""
        if rounds <= 1:
            self._alone = seconds
        elif self._alone:
            further = (seconds / self._alone - 1) / (rounds - 1)
            self.further = min(1.0, max(0.0, further))

    def chance(self, rounds: int, under_way: int = 0) -> float:
        """How likely so many further rounds all pass, if those `under_way` do.

        The failure rate is estimated again after each that passes (Jeffreys' prior: half a failure in one round), since it
        may be far lower than the best single guess of it.
        """
        known = len(self._failed) + under_way
        passed = known - sum(self._failed)
        return math.prod((passed + further + 0.5) / (known + further + 1) for further in range(rounds))

    def likely_of_use(self, ahead: int) -> bool:
        """Whether a verdict bought so many rounds ahead is at least twice as likely to be of use as not."""
        return self.chance(ahead) >= _LIKELY

    def rounds(self, under_way: int = 0) -> int:
        """The block with the most rounds of use per time: a power of two up to `most`, 1 where more would not pay.

        Of use are the rounds up to the first failure, that one included. `under_way`: rounds before the block that are
        answered and being judged. They are taken to pass, since a failure among them breaks the block off at once.
        """

        def per_time(size: int) -> float:
            of_use = sum(self.chance(passed, under_way) for passed in range(size))
            return of_use / (1 + self.further * (size - 1))

        return max((1 << power for power in range(self.most.bit_length())), key=per_time)  # the smallest of equals
