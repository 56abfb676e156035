"""A run's numbers as curves, for trackers."""

from collections.abc import Sequence
from pathlib import Path

from iteralign import layout
from iteralign.constitution.ledger import in_force
from iteralign.oracles.budget import CallsSoFar, Total
from iteralign.records import Principle
from iteralign.scoreboard.metrics import RoundMetrics
from iteralign.trainers.tracking import Tracking


class Curves:
    """Tells the trackers, if there are any."""

    def __init__(self, tracking: Tracking | None, run_dir: Path) -> None:
        self._tracking = tracking
        self._calls = CallsSoFar(run_dir / layout.CALLS)

    def tell(self, row: RoundMetrics, ledger: Sequence[Principle]) -> None:
        """Of a round and of what the oracle has taken so far; step 0 is the base model, step n is after n rounds."""
        if self._tracking:
            numbers = {"principles": len(in_force(ledger))} | spending(self._calls.total())
            self._tracking.scores(row.round + 1, curves(row) | numbers)


def spending(spent: Total) -> dict[str, float]:
    """Calls, tokens and, where all prices are known, dollars of the oracle since the run began."""
    counts: dict[str, float] = {"oracle_calls": spent.calls, "oracle_tokens": spent.tokens}
    return counts | ({} if spent.cost is None else {"oracle_cost": spent.cost})


def curves(row: RoundMetrics) -> dict[str, float]:
    """What a round has measured and done; shares from 0 to 1."""
    shares = {
        "held_out_unacceptable": row.held_out,
        "benign_refused": row.benign_refusals,
        "degenerate": row.degenerate,
    }
    points = {name: one.count / one.total for name, one in shares.items() if one is not None and one.total}
    if row.capability is not None:
        points["capability_perplexity"] = row.capability.value
    if row.round < 0:
        return points
    numbers = {
        "failures": row.failures,
        "principles_adopted": row.principles,
        "revised": row.revised,
        "verified": row.verified,
        "trained": int(row.trained),
        "thrown_away": int(row.problem is not None),
        "target_tokens": row.tokens.read + row.tokens.written + row.tokens.trained,
    }
    return points | {"failed": row.failures / row.prompts if row.prompts else 0.0} | numbers
