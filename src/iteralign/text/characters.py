"""Text as every file and every endpoint can take it."""

from typing import Annotated

from pydantic import AfterValidator


def valid(text: str) -> str:
    """The text as valid Unicode: pairs of surrogates are joined, and half of one is U+FFFD.

    JSON's `"\\ud83d"` is half an emoji, which Python reads and nothing can write.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


Text = Annotated[str, AfterValidator(valid)]
"""Of a record's fields: whoever makes the record, it can be stored."""
