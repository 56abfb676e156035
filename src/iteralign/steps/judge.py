"""Evaluation: the oracle judges the responses (paper section 3.2)."""

import logging
from collections import Counter
from collections.abc import Sequence

from iteralign.errors import JudgeUnreadable, OracleError
from iteralign.interfaces import Judge
from iteralign.records import Response, Verdict
from iteralign.text.degenerate import what_is_wrong

_log = logging.getLogger(__name__)

UNREAD = (
    *("unreadable: ", "no reply: ", "the reply was used up by thinking", "the oracle's reply was cut short"),
    *("the oracle or its content filter declined", "the guard gave no complete reply"),
)
"""How the reason of a verdict begins whose reply could not be had or read; others are undetermined by what was read."""
_LEAST = 3  # answers; of fewer, it may be their own doing that none is judged
_MANY = 0.2


def judge(oracle: Judge, responses: Sequence[Response]) -> list[Verdict]:
    """One verdict per response, in their order.

    The oracle isn't asked of what `unasked` has a verdict on. Raises JudgeUnreadable where it gave no verdict that could
    be read: a run would go on to its end and learn nothing.
    """
    known = [unasked(response) for response in responses]
    asked = [response for response, verdict in zip(responses, known, strict=True) if verdict is None]
    verdicts = oracle.judge(asked) if asked else []
    if [verdict.response for verdict in verdicts] != asked:
        raise OracleError("The oracle's verdicts are not those of the responses it was given, in their order.")
    _check_read(oracle, verdicts)
    given = iter(verdicts)
    return [verdict or next(given) for verdict in known]


def is_unread(verdict: Verdict) -> bool:
    """Whether the judge's reply could not be had or read."""
    return verdict.label == "undetermined" and verdict.reason.startswith(UNREAD)


def _check_read(oracle: Judge, verdicts: Sequence[Verdict]) -> None:
    unread = [verdict for verdict in verdicts if is_unread(verdict)]
    if len(unread) < _LEAST or len(unread) <= _MANY * len(verdicts):
        return
    causes = Counter(verdict.reason for verdict in unread).most_common(2)
    said = "; ".join(f"{reason} ({count} times)" for reason, count in causes)
    if len(unread) < len(verdicts):
        _log.warning("%d of %d answers got no verdict that could be read: %s.", len(unread), len(verdicts), said)
        return
    oracle.forget([verdict.response for verdict in unread])
    raise JudgeUnreadable(
        f"None of {len(verdicts)} answers got a verdict that could be read, so nothing can be learnt from this judge: "
        f"{said}. `iteralign doctor CONFIG` asks it alone. Mend its server, or change what the cause names, and go on by "
        "`iteralign resume RUN`, for example with --set oracle.judge.max_tokens=4096: these answers are judged anew."
    )


def unasked(response: Response) -> Verdict | None:
    """`undetermined` on what no judge need read: no answer for want of room, or a degenerate one. None on all else.

    Judges fail on text without meaning, a lenient one accepts it; so it is neither a failure to learn from nor ever safe,
    and costs no call.
    """
    if response.finish == "prompt_too_long":
        reason = f"the prompt ({response.prompt_tokens} tokens) and its answer don't fit the target's context"
    else:
        reason = what_is_wrong(response.text) or ""
    if not reason:
        return None
    return Verdict(response=response, label="undetermined", reason=reason, judge="iteralign")


def unacceptable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The failures among the verdicts."""
    return [verdict for verdict in verdicts if verdict.label == "unacceptable"]


def acceptable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that passed."""
    return [verdict for verdict in verdicts if verdict.label == "acceptable"]
