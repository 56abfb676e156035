"""Text from outside that would be more than text where it goes: a token to a model, a command to a terminal, a tag in a page.

What is stored stays as it was; these make the copy that is shown.
"""

import re

SPECIAL_TOKEN = re.compile(
    r"<[|｜][^|｜<>\n]{1,60}[|｜]>|<</?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK)\]"
    r"|</?(?:s|think|tool_call|tool_response|sop|eop)>|<(?:start|end)_of_(?:turn|utterance|image|text)>"
    r"|<(?:bos|eos|pad|unk|mask|(?:BOS|EOS|PAD)_TOKEN|unused\d+|extra_id_\d+)>",
    re.IGNORECASE,
)
"""What chat templates and tokenizers use between texts."""

HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Control characters but for tab and line feed, and what no reader sees: soft hyphens, zero widths, directions, tags."""

_COMMANDS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKDOWN = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("[", "\\["), ("`", "\\`"))


def defused(text: str) -> str:
    """The text with a space put into whatever a tokenizer may read as a control token of its own.

    Otherwise an answer could end its own turn, and write the judge's instructions or its reply.
    """
    return SPECIAL_TOKEN.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def visible(text: str) -> str:
    """The text with what would command a terminal, turn its lines around, or can't be printed, as signs: `␛`, `<U+202E>`."""
    return _COMMANDS.sub(lambda found: _sign(ord(found[0])), text)


def in_markdown(text: str) -> str:
    """One line in which nothing is Markdown or HTML."""
    line = " ".join(visible(str(text)).split())
    for character, safe in _MARKDOWN:
        line = line.replace(character, safe)
    return line


def _sign(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"
