"""How many rounds to answer at once: as many as are likely to be of use, at what they cost."""

from collections import deque

_WINDOW = 64  # rounds
_COST_BEFORE_MEASURED = 0.5
_USUALLY = 0.5


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

    @property
    def failure_rate(self) -> float:
        """Estimated chance that a round fails: a half before anything is known."""
        return self._rate(0)

    @property
    def usually_fails(self) -> bool:
        """Whether a verdict bought ahead is more likely wasted than not."""
        return self.failure_rate >= _USUALLY

    def rounds(self, under_way: int = 0) -> int:
        """The block with the most rounds of use per time: a power of two up to `most`, 1 where more would not pay.

        `under_way`: rounds before the block that are answered and being judged. They are taken to pass, since a failure
        among them breaks the block off at once.
        """
        rate = self._rate(under_way)
        sizes = [1]
        while sizes[-1] * 2 <= self.most:
            sizes.append(sizes[-1] * 2)
        return max(sizes, key=lambda size: (_of_use(size, rate) / (1 + self.further * (size - 1)), -size))

    def _rate(self, passing: int) -> float:
        """The failure rate if so many further rounds pass (Jeffreys' prior).

        Laplace's rule, which adds 1 and 2, takes twice as long to believe that failures have become rare.
        """
        return (sum(self._failed) + 0.5) / (len(self._failed) + passing + 1)


def _of_use(size: int, rate: float) -> float:
    """Rounds of a block whose answers stay valid: those up to the first failure, that one included."""
    return float((1 - (1 - rate) ** size) / rate)
