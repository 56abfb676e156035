"""How likely each prompt of a pool is to fail, by what was judged so far.

Beta counts. A prompt's own counts are the judged prompts, each as far as it is like this one in its words. They begin with
its kind's rate, and a kind's with the rate of all. A training makes what was counted before it count less, failures above
all, since they are what was trained on.
"""

from dataclasses import dataclass

import numpy as np

from iteralign.redteam.pool import Floats, PromptPool


@dataclass(frozen=True)
class Weighing:
    """What evidence counts. Chosen on simulated targets (benchmarks/redteam.py --tune)."""

    own_kind: float = 0.25
    """Prompts of its kind that count as much as what is like a prompt in its words."""
    all_kinds: float = 10.0
    """The same of all prompts against those of a kind."""
    failed: float = 0.7
    """What a failure still counts after a training,"""
    passed: float = 0.9
    """and a pass."""
    alike: float = 2.0
    """The power that a likeness is raised to: the higher, the less a distant likeness counts."""
    sharpness: float = 20.0
    """The power that an estimate is raised to: the higher, the rarer is a draw of what is not likely to fail."""
    least: float = 0.05
    """Estimates below count as this: among prompts that hardly fail one is as good as another."""
    hope: float = 0.3
    """Standard deviations that are added to an estimate: what is little known is worth a try."""


class Chances:
    """The estimate, kept up to date."""

    def __init__(self, pool: PromptPool, how: Weighing) -> None:
        self.pool = pool
        self.how = how
        size, kinds = len(pool.prompts), int(pool.kinds.max()) + 1
        self._failed, self._passed = np.zeros(size), np.zeros(size)
        self._kind_failed, self._kind_passed = np.zeros(kinds), np.zeros(kinds)

    def trained(self) -> None:
        """The weights have changed: what was judged before counts less."""
        for failed in (self._failed, self._kind_failed):
            failed *= self.how.failed
        for passed in (self._passed, self._kind_passed):
            passed *= self.how.passed

    def judged(self, place: int, failed: bool) -> None:
        """The prompt at this place was asked."""
        alike = self.pool.likeness(place) ** self.how.alike
        kind = self.pool.kinds[place]
        if failed:
            self._failed += alike
            self._kind_failed[kind] += 1
        else:
            self._passed += alike
            self._kind_passed[kind] += 1

    def estimates(self) -> Floats:
        """Of each prompt: the chance to fail, with some hope added where little is known."""
        all_failed, all_passed = self._kind_failed.sum(), self._kind_passed.sum()
        rate = (all_failed + 0.5) / (all_failed + all_passed + 1)
        of_kind = (self._kind_failed + self.how.all_kinds * rate) / (
            self._kind_failed + self._kind_passed + self.how.all_kinds
        )
        known = self._failed + self._passed + self.how.own_kind
        chance = (self._failed + self.how.own_kind * of_kind[self.pool.kinds]) / known
        likely: Floats = chance + self.how.hope * np.sqrt(chance * (1 - chance) / (known + 1))
        return np.clip(likely, self.how.least, 1.0)
