"""When two prompts are the same question, and a held-out split that no question can cross."""

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from iteralign.data.transcripts import question_turns
from iteralign.errors import DataError
from iteralign.prompts import load_template
from iteralign.records import RedTeamPrompt, Turn

_TRAILING = " .?!…。،؟,;:।"


@lru_cache(maxsize=2**18)
def same_question_key(text: str) -> str:
    """Equal for two texts that ask the same question, in whatever prompt form of ours and however typed.

    Transcript markers, the Chain-of-Utterances script and the chain-of-thought suffix are taken off; Unicode form
    (NFKC), case, white space, kind of apostrophe and punctuation at the end don't count.
    """
    if "Human:" in text or "-LM:" in text:
        turns = question_turns(text, "last")
        key = _normal((turns[-1].text if turns else "") or text)
    else:
        key = _normal(text)
    suffix = _cot_suffix()
    without = key.removesuffix(suffix).rstrip(_TRAILING) if key.endswith(suffix) else key
    return without or key


def turns_key(turns: Sequence[Turn]) -> str:
    """Equal for exact doubles: the same question, which is the last turn, after the same conversation."""
    *history, last = turns
    key = same_question_key(last.text)
    return "\0".join([*(f"{turn.role}: {_normal(turn.text)}" for turn in history), key]) if history else key


def split_held_out(
    prompts: Sequence[RedTeamPrompt], *, share: float | None = None, count: int | None = None, seed: int = 0
) -> tuple[list[RedTeamPrompt], list[RedTeamPrompt]]:
    """(train, held out), both in the order of `prompts`.

    Whether a question is held out follows from itself and the seed, in whatever form and set it stands. As many are held out
    as are asked for; a share is rounded to whole questions. So sets of the same questions are split alike. Of sets
    that have some in common, the few whose turn is about the last may lie on different sides: mix first, then split.
    Raises DataError if either side can't be what was asked for.
    """
    if (share is None) == (count is None):
        raise DataError("Hold out either a share of the questions or a number of them.")
    places = [_place(prompt, seed) for prompt in prompts]
    distinct = sorted(set(places))
    if share is not None:
        if not 0 <= share < 1:
            raise DataError(f"The share held out is {share}; it must be at least 0 and less than 1.")
        count = round(share * len(distinct))
    else:
        assert count is not None
        if not 0 <= count < max(len(distinct), 1):
            raise DataError(
                f"{count} questions can't be held out of {len(distinct)}; at least one must be left to train on."
            )
    held = set(distinct[:count])
    if prompts and len(held) == len(distinct):
        raise DataError(f"All {len(distinct)} questions would be held out; lower the share, or hold out a number.")
    sides: tuple[list[RedTeamPrompt], list[RedTeamPrompt]] = ([], [])
    for prompt, place in zip(prompts, places, strict=True):
        sides[place in held].append(prompt)
    return sides


def without_questions_of(prompts: Sequence[RedTeamPrompt], others: Sequence[RedTeamPrompt]) -> list[RedTeamPrompt]:
    """The prompts in which no question of `others` is asked, neither at the end nor earlier in the conversation."""
    if not prompts or not others:
        return list(prompts)
    asked = {same_question_key(other.question) for other in others}
    new = [prompt for prompt in prompts if same_question_key(prompt.question) not in asked]
    return [prompt for prompt in new if not prompt.history or asked.isdisjoint(_asked_earlier(prompt))]


def _asked_earlier(prompt: RedTeamPrompt) -> list[str]:
    return [same_question_key(turn.text) for turn in prompt.history if turn.role == "human"]


def _place(prompt: RedTeamPrompt, seed: int) -> bytes:
    key = same_question_key(prompt.question)
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8]


@cache
def _cot_suffix() -> str:
    return _normal(load_template("cot_suffix", set()).text)


def _normal(text: str) -> str:
    if text.isascii():  # which Unicode's forms leave as it is
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("\u2019", "'")
    joined = " ".join(folded.split())
    return joined.rstrip(_TRAILING) or joined
