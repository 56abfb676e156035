"""Evaluation: the oracle judges the responses (paper section 3.2)."""

from collections.abc import Sequence

from iteralign.degenerate import what_is_wrong
from iteralign.errors import OracleError
from iteralign.interfaces import Oracle
from iteralign.records import Response, Verdict


def judge(oracle: Oracle, responses: Sequence[Response]) -> list[Verdict]:
    """One verdict per response, in their order.

    The oracle isn't asked of what `unasked` has a verdict on.
    """
    known = [unasked(response) for response in responses]
    asked = [response for response, verdict in zip(responses, known, strict=True) if verdict is None]
    verdicts = oracle.judge(asked) if asked else []
    if [verdict.response for verdict in verdicts] != asked:
        raise OracleError("The oracle's verdicts are not those of the responses it was given, in their order.")
    given = iter(verdicts)
    return [verdict or next(given) for verdict in known]


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
