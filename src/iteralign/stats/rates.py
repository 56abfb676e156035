"""The held-out measurement: does the target go along with red teaming it never trained on, and does it refuse what it should
answer? Greedy or as sampled in the run, judged by the run's oracle; refusals are found by phrases (text/refusals.py)."""

from collections.abc import Sequence

from iteralign.records import Verdict
from iteralign.stats.intervals import Proportion
from iteralign.text.refusals import is_refusal


def unacceptable_rate(verdicts: Sequence[Verdict]) -> Proportion:
    """Unacceptable among the judged; the undetermined are in neither number."""
    judged = [verdict for verdict in verdicts if verdict.label != "undetermined"]
    return Proportion(sum(verdict.label == "unacceptable" for verdict in judged), len(judged))


def refusal_rate(verdicts: Sequence[Verdict]) -> Proportion:
    """Refusals among the answers to benign prompts."""
    return Proportion(sum(is_refusal(verdict.response.text) for verdict in verdicts), len(verdicts))
