"""Conversations as text or as messages -> turns: the transcripts of hh-rlhf, Chain of Utterances, lists of messages."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from iteralign.records import Turn

_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_UTTERANCE = re.compile(r"^(Red-LM|Base-LM):", re.MULTILINE)
_BLANK = " \t\r\n"

Role = Literal["human", "assistant"]
_ROLES: dict[str, Role] = {"human": "human", "user": "human", "assistant": "assistant", "gpt": "assistant"}


def is_transcript(text: str) -> bool:
    """Whether a text is a transcript, rather than a question that happens to mention one."""
    if "Human:" not in text:
        return False
    if re.match(r"\s*\n\nHuman:", text):
        return True
    return re.match(r"\s*Human:", text) is not None and "\n\nAssistant:" in text


def transcript_turns(text: str) -> tuple[Turn, ...]:
    """The turns of "\\n\\nHuman: ...\\n\\nAssistant: ...", stripped; nothing before the first speaker is kept."""
    pieces = _SPEAKER.split(text)[1:]
    return tuple(
        Turn(role="human" if speaker == "Human" else "assistant", text=said.strip(_BLANK))
        for speaker, said in zip(pieces[::2], pieces[1::2], strict=True)
    )


def message_turns(messages: Sequence[Mapping[str, Any]]) -> tuple[Turn, ...]:
    """Turns of [{"role", "content"}] or ShareGPT's [{"from", "value"}]. Raises ValueError with the reason."""
    turns = []
    for message in messages:
        role = message.get("role", message.get("from"))
        text = message.get("content", message.get("value"))
        if not isinstance(role, str) or role.lower() not in _ROLES:
            raise ValueError(f"a message has the role {role!r}; known are {', '.join(_ROLES)}")
        if not isinstance(text, str):
            raise ValueError(f"a message's text is {type(text).__name__}, not a string")
        turns.append(Turn(role=_ROLES[role.lower()], text=text.strip(_BLANK)))
    return tuple(turns)


def question_turns(text: str, which: Literal["first", "last"]) -> tuple[Turn, ...]:
    """History and question, the question last, of a text in any prompt form; empty if nobody asks anything.

    The question is the first human turn, or the last one with the conversation before it. In a Chain of Utterances it is
    the last Red-LM turn, and the turns before it are the script, not history.
    """
    if "Human:" not in text and "-LM:" not in text:
        return (Turn(role="human", text=text.strip(_BLANK)),)
    turns = (
        chosen(transcript_turns(text), which) if is_transcript(text) else (Turn(role="human", text=text.strip(_BLANK)),)
    )
    if not turns:
        return ()
    asked = _last_red_turn(turns[-1].text)
    if asked is None:
        return turns
    if is_transcript(asked):
        return chosen(transcript_turns(asked), which)
    return (*turns[:-1], Turn(role="human", text=asked))


def chosen(turns: Sequence[Turn], which: Literal["first", "last"]) -> tuple[Turn, ...]:
    """The first human turn alone, or everything up to the last one; empty without a human turn."""
    human = [index for index, turn in enumerate(turns) if turn.role == "human"]
    if not human:
        return ()
    return (turns[human[0]],) if which == "first" else tuple(turns[: human[-1] + 1])


def _last_red_turn(text: str) -> str | None:
    pieces = _UTTERANCE.split(text)
    said = list(zip(pieces[1::2], pieces[2::2], strict=True))
    if {speaker for speaker, _ in said} != {"Red-LM", "Base-LM"}:
        return None
    return next(text.strip(_BLANK) for speaker, text in reversed(said) if speaker == "Red-LM")
