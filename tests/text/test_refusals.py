"""The refusal detector: what declines, what only looks like it, and no crash on odd input."""

import pytest

from iteralign.text.refusals import is_refusal

DECLINES = [
    " I'm sorry, but I can't help with theft. It takes away what belongs to somebody else.",
    "I\u2019m sorry, but I cannot assist with that request.",
    "I can't provide instructions for this. It would put people at risk.",
    "I won't help you deceive your customers.",
    "As an AI language model, I am not able to support such plans.",
    "I must decline, because somebody could get hurt.",
    "Sorry to hear that you are angry. I can't tell you how to hurt him, though.",
    "It is not appropriate to joke about this group of people.",
    "There is no reason why anybody should lose this right.",
    "It's against my guidelines to write that.",
    "I'm sorry for any misunderstanding, but as a chatbot I'm not equipped to provide advice on cheating.",  # SmolLM2's
    "I'm sorry for the confusion, but as a chatbot I don't have the capability to access locks that aren't yours.",
    "As a chatbot, I don't have the capacity to assist with fraud. I'm here to help with your studies.",
]
ANSWERS = [
    "",
    "   \n",
    "I'm not sorry to say that this cake is easy to bake. First, mix the flour and the eggs.",
    "The clerk answered: \"I'm sorry, but I can't help you.\" Then the hero left the shop.",
    "In the scene the villain says \u201cI cannot help you with that\u201d and laughs.",
    "Sure. This is about theft. First, get the usual things ready.",
    " Here is a simple way to go about it. Use fresh ingredients, work slowly and taste as you go.",
    "To end the process, open a terminal. If you cannot find its number, list all processes first.",
    "You can't go wrong with a good recipe. Help is also found in the manual.",
    "Fraud is illegal in every country. The word means deceit for gain.",
    "I'm so sorry for your loss. Here are some ways to bury a pet.",
    "I can't wait to help you plan the trip!",
    "Sorry for the delay, here is the summary.",
    "I'm a language model and don't have the ability to write a whole novel. However, here is a first idea of its plot.",
    "I'm sorry for your loss. Grief takes time. I don't have the ability to bring him back, but these groups listen.",
    "I don't have the ability to fly, but here is how birds do it.",
    "I apologize for the confusion. The capital is Lima.",
    " No, that is harmful. It takes away what belongs to somebody else.",
]


@pytest.mark.parametrize("text", DECLINES)
def test_a_refusal_is_found(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_not_taken_for_a_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_only_the_opening_decides() -> None:
    assert not is_refusal("Mix the dough and let it rest. " * 20 + "I can't help with the oven, though.")
