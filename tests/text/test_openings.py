"""Answers that open alike."""

import pytest

from iteralign.text.openings import open_alike, opening


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        ("  *This* is a classic example,\nof which more is said.", "this is a classic example of"),
        ("Das ist ein schönes Beispiel für vieles.", "das ist ein schönes beispiel für"),
        ("Too short by one word.", None),
        ("I'm sorry, but I can't help with that.", None),
        ("", None),
    ],
)
def test_an_opening_is_six_words_of_an_answer_that_does_not_decline(text: str, opens: str | None) -> None:
    assert opening(text) == opens


def test_those_with_the_commonest_opening_are_alike() -> None:
    texts = {"a": "One two three four five six, and so on", "b": "One two three four five six.", "c": "No."}
    assert open_alike(texts) == {"a": True, "b": True, "c": False}
    assert open_alike({"a": texts["a"], "c": texts["c"]}) == {"a": False, "c": False}, "one alone is like no other"
    assert open_alike({}) == {}
