"""Constitution proposal: principles that would have prevented the failures (paper section 3.3)."""

import logging
from collections.abc import Sequence
from typing import Literal

from iteralign.errors import OracleReplyError
from iteralign.interfaces import Oracle
from iteralign.prompts.fitness import LONGEST, language_of, why_unfit
from iteralign.records import Event, Principle, Verdict

Wording = Literal["positive", "prohibiting"]

log = logging.getLogger(__name__)


def propose(
    oracle: Oracle,
    failures: Sequence[Verdict],
    adopted: Sequence[Principle],
    round_number: int,
    *,
    wording: Wording = "positive",
    contrast: Sequence[Verdict] = (),
) -> list[Principle]:
    """The round's proposals, numbered, each with the failed prompts it answers; all that the oracle said is in it.

    A text is `rejected`, with the reason, if it is unfit to stand in the target's prompt (see `prompts/fitness.py`) or not in
    the language of the questions. One whose words are there already is `merged`.
    Evidence that names no prompt of the failures is dropped from a principle; one left without evidence is held to
    answer all the failures. `wording` is put to use where the oracle gave it.
    """
    failed = [failure.response.prompt.id for failure in failures]
    language = language_of(" ".join(failure.response.prompt.question for failure in failures))
    known = {words(principle.text): principle.id for principle in adopted}
    numbered: list[Principle] = []
    for number, given in enumerate(_asked(oracle, failures, adopted, contrast), start=1):
        principle = in_wording(given, wording).model_copy(
            update={
                "id": f"r{round_number:04d}-{number:02d}",
                "round": round_number,
                "evidence": tuple(dict.fromkeys(id for id in given.evidence if id in failed)) or tuple(failed),
            }
        )
        principle = _checked(principle, language, known)
        if principle.status == "proposed":
            known.setdefault(words(principle.text), principle.id)
        numbered.append(principle)
    return numbered


def _asked(
    oracle: Oracle, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict]
) -> list[Principle]:
    """What the oracle proposes; nothing, and a warning, where none of its replies could be read."""
    try:
        return oracle.propose(failures, adopted, contrast)
    except OracleReplyError as error:
        log.warning("No new principles in this round: %s", error)
        return []


def in_wording(principle: Principle, wording: Wording) -> Principle:
    """The principle with this wording in use, where it has both."""
    if principle.wording == wording or not principle.other_wording:
        return principle
    return principle.model_copy(
        update={"text": principle.other_wording, "other_wording": principle.text, "wording": wording}
    )


def words(text: str) -> str:
    """What decides whether two texts are the same word for word."""
    return " ".join(text.casefold().split()).rstrip(".!")


def unfit(principle: Principle, language: str | None) -> str | None:
    """Why the principle must not be used, by its two wordings alone."""
    reason = why_unfit(principle.text)
    if reason is None and principle.other_wording:
        other = why_unfit(principle.other_wording)
        reason = other and f"in its other wording, {other}"
    if reason is None and language is not None:
        own = language_of(principle.text)
        if own not in (None, language):
            reason = f"it is written in {own}, and the questions in {language}"
    return reason


def _checked(principle: Principle, language: str | None, known: dict[str, str]) -> Principle:
    """With its first events. What an oracle rejected itself stays rejected; no overlong text gets into the record."""
    round_number = principle.round
    events = tuple(event.model_copy(update={"round": round_number}) for event in principle.history)
    proposal = Event(kind="proposed", round=round_number, by="proposer")
    checked = principle.model_copy(update={"history": (proposal, *events), "status": "proposed"})
    reason = unfit(principle, language)
    if reason is not None:
        rejected = Event(kind="rejected", round=round_number, by="form", reason=reason)
        checked = checked.happened(
            rejected, status="rejected", text=_short(principle.text), other_wording=_short(principle.other_wording)
        )
    elif principle.status == "rejected":
        checked = checked.model_copy(update={"status": "rejected"})
    elif words(principle.text) in known:
        merged = Event(
            kind="merged",
            round=round_number,
            by="similarity",
            reason="word for word",
            other=known[words(principle.text)],
        )
        checked = checked.happened(merged, status="merged")
    return checked


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [cut]"
