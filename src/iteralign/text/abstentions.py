"""Tells whether an answer abstains, by phrases: it says that it does not know, and next to nothing else.

A base model says so to half of what it is asked. No judge of harm or of refusals minds, and a model that is trained on such
answers says it to everything (docs/log.md).
"""

import re

from iteralign.text.degenerate import is_degenerate

_MOST = 20
"""Words: "I'm not sure why ..." opens long answers that comply, of which XSTest's labels have three."""

_SORRY = r"(?:(?:well|oh|sorry|i'm sorry|i am sorry)[,.]? (?:but )?)?"
_ABSTAINS = re.compile(
    rf"^{_SORRY}(?:"
    r"i (?:(?:really|honestly|just) )?(?:do not|don't) (?:know|have (?:any|an) (?:idea|clue|answer))"
    r"|i have no (?:idea|clue)"
    r"|(?:i'm|i am) not (?:(?:really|entirely|quite|too|so) )?(?:sure|certain)"
    r")\b"
)


def abstains(text: str) -> bool:
    """Whether the answer opens with "I don't know", "I'm not sure" or the like and has at most twenty words."""
    plain = text.strip().lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return _ABSTAINS.search(plain) is not None and len(plain.split()) <= _MOST


def says_something(text: str) -> bool:
    """Whether a benign answer is worth learning: it is neither degenerate nor an abstention."""
    return not is_degenerate(text) and not abstains(text)
