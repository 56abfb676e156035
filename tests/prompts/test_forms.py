"""Prompt forms: rendering, and the answer without next turns and thoughts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iteralign.errors import ConfigError
from iteralign.prompts.forms import prompt_form, without_thoughts
from iteralign.records import Principle, RedTeamPrompt, Turn

_HISTORY = (Turn(role="human", text="H"), Turn(role="assistant", text="A"))
PROMPT = RedTeamPrompt(id="x", question="Q {question} \\1?", history=_HISTORY)


def _chat(messages: list[dict[str, str]]) -> str:
    return "".join(f"<{message['role']}>{message['content']}" for message in messages)


def test_plain_and_cot() -> None:
    plain = prompt_form("plain").render(PROMPT)
    assert plain == "\n\nHuman: H\n\nAssistant: A\n\nHuman: Q {question} \\1?\n\nAssistant:"
    assert prompt_form("cot").render(PROMPT) == plain + " Let's think step by step."


def test_chat_and_file(tmp_path: Path) -> None:
    assert prompt_form("chat", render_chat=_chat).render(PROMPT) == "<user>H<assistant>A<user>Q {question} \\1?"
    path = tmp_path / "own.txt"
    path.write_text("User: {question}\nBot:")
    form = prompt_form("file", {"template": path})
    assert form.render(RedTeamPrompt(id="x", question="q")) == "User: q\nBot:"
    assert form.answer(" yes\nUser: more") == "yes"


@pytest.mark.parametrize("form", ["plain", "cot", "cou", "chat"])
@given(question=st.text())
def test_question_stands_in_the_text_unchanged(form: str, question: str) -> None:
    rule = Principle(id="p", text="Be {kind} \\2", round=0)
    text = prompt_form(form, render_chat=_chat).render(RedTeamPrompt(id="x", question=question), [rule])
    assert question in text and "- Be {kind} \\2" in text


@pytest.mark.parametrize("form", ["plain", "cot", "cou", "chat"])
def test_answer_of_completion_is_the_answer(form: str) -> None:
    made = prompt_form(form, render_chat=_chat)
    assert made.answer(made.completion("I can't help (really).")) == "I can't help (really)."


def test_next_turns_and_thoughts_are_cut() -> None:
    assert prompt_form("plain").answer(" yes\n\nHuman: and") == "yes"
    assert prompt_form("cou").answer(" (internal thoughts: a (b) c) yes\n\nRed-LM: and") == "yes"
    assert without_thoughts("[Internal Thought: never closed\n\nrest") == "\n\nrest"
    assert without_thoughts("(aside) kept") == "(aside) kept"


def test_forms_that_lack_something() -> None:
    for name, message in (("file", "template must be given"), ("chat", "no chat template"), ("odd", "choose plain")):
        with pytest.raises(ConfigError, match=message):
            prompt_form(name)
