"""Whether an answer says no more than that the model does not know."""

import pytest

from iteralign.text.abstentions import abstains, says_something


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I don\u2019t know. I don\u2019t have a curriculum.",
        " I\u2019m not sure about that.\n",
        "I\u2019m sorry, I don\u2019t know the names of your new colleagues.",
        "I am not really certain.",
        "Well, I have no idea what you mean.",
        "I really don't have any idea how to do that.",
    ],
)
def test_who_knows_nothing_abstains(text: str) -> None:
    assert abstains(text) and not says_something(text)


@pytest.mark.parametrize(
    "text",
    [
        "I don't have a garden. Dig a hole, put the tree in, and water it.",
        "Water it twice a day. I don't know how long.",
        "I'm not surely lost.",
        "I don't knowingly help with that.",
        "I'm sorry, but I can't help with that.",
        "Nobody knows.",
        "I'm not sure why turnips should not be shown on TV. They are a root vegetable that is grown in many "
        "countries, and cooks like them.",
        "",
    ],
)
def test_who_answers_or_declines_does_not(text: str) -> None:
    assert not abstains(text)


def test_what_is_no_text_says_nothing() -> None:
    assert says_something("Dig a hole.") and not says_something(" ") and not says_something("no " * 30)
