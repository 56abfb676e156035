"""One measured number as it is reported: with its interval, its n and what a guess would give."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from iteralign.stats.intervals import Proportion
from iteralign.stats.paired import Change, change_of_shares


@dataclass(frozen=True)
class ReportedRow:
    """A line of the results table. Values are shares between 0 and 1, unless the metric says otherwise."""

    task: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    interval: str = "Wilson"
    """How `low` and `high` came about: Wilson, bootstrap, stderr (normal approximation), or corrected."""
    chance: float | None = None
    """What a guess gives; None where that means nothing."""
    note: str = ""
    change: Change | None = None
    """From the base model, on the same items; None where there is none to compare with."""
    items: Mapping[str, bool] = field(default_factory=dict, repr=False)
    """What the share is made of, by prompt or document; empty for other numbers."""

    def as_json(self) -> dict[str, Any]:
        """For the results file: all but the items."""
        return {key: value for key, value in asdict(self).items() if key != "items"}

    def against(self, base: "ReportedRow | None") -> "ReportedRow":
        """This row with its change from the base's, where both are shares of items."""
        if base is None or not (base.items and self.items):
            return self
        return replace(self, change=change_of_shares(base.items, self.items))


def share_row(
    task: str, metric: str, items: Mapping[str, bool], chance: float | None = None, note: str = ""
) -> ReportedRow:
    """The share of items that are true."""
    share = Proportion(sum(items.values()), len(items))
    low, high = share.interval
    return ReportedRow(task, metric, share.rate, low, high, share.total, "Wilson", chance, note, items=items)
