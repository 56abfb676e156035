"""One rule for all who vote: the samples of a judge, the judges of a panel, guard models."""

from collections import Counter
from collections.abc import Sequence

from iteralign.records import Response, Verdict


def decided(response: Response, votes: Sequence[Verdict], name: str) -> Verdict:
    """The verdict that more than half of the votes agree on, as the first of them has it; `undetermined` where they split.

    An undetermined vote agrees with nobody. `name`: who has judged, all together.
    """
    for label in ("unacceptable", "acceptable"):
        agreed = [vote for vote in votes if vote.label == label]
        if 2 * len(agreed) > len(votes):
            among = f"{len(agreed)} of {len(votes)} ({_count(votes)}); " if len(agreed) < len(votes) else ""
            return agreed[0].model_copy(update={"reason": among + agreed[0].reason, "judge": name})
    why = next((vote.reason for vote in votes if vote.label == "undetermined"), "split")
    reason = f"{why} ({_count(votes)})" if len(votes) > 1 else why
    return Verdict(response=response, label="undetermined", reason=reason, judge=name)


def _count(votes: Sequence[Verdict]) -> str:
    """Who said what, and how often."""
    said = Counter(f"{vote.judge or 'a judge'}: {vote.label}" for vote in votes)
    return ", ".join(text + f" {times} times" * (times > 1) for text, times in said.items())
