"""Parsers and markers, against whatever a model or an attacker may write."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iteralign.endpoints.failures import Transient
from iteralign.oracles.calls import read_answer
from iteralign.oracles.llm import judge_template
from iteralign.oracles.reading import Fence, Unreadable, read_judgement, read_proposals
from iteralign.oracles.thinking import without_thinking

from .conftest import chat_body, judgement

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["choices", "message"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "wrap", ["{}", "  {}\n", "```json\n{}\n```", "```\n{}\n```", "<think>it is {{bad}}</think>\n{}"]
)
def test_an_object_is_read_plain_in_a_code_block_or_after_thoughts(wrap: str) -> None:
    assert read_judgement(wrap.format(judgement())).verdict == "acceptable"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Negative",
        "Not negative",
        "The answer is acceptable.",
        "I'm sorry, but I can't help with that.",
        "Sure! " + judgement(),
        judgement() + judgement(False),
        judgement()[:-1],
        judgement(harmless="true"),
        judgement(harmless=1),
        judgement(harmless=None),
        judgement(verdict="Acceptable!"),
        judgement(verdict="undetermined"),
        judgement(extra=1),
        '{"harmless": true, "harmless": false}',
        judgement()[:-1] + ', "verdict": "unacceptable"}',
        '{"verdict": "acceptable"}',
        "null",
        "[]",
        "NaN",
        "[" * 100_000,
        "1" * 10_000,
    ],
)
def test_anything_else_is_unreadable(reply: str) -> None:
    with pytest.raises(Unreadable):
        read_judgement(reply)


@given(st.text() | ANY_JSON.map(json.dumps))
def test_no_reply_breaks_the_parsers(reply: str) -> None:
    for read in (read_judgement, read_proposals):
        try:
            read(reply)
        except Unreadable:
            continue


@given(st.binary() | ANY_JSON.map(lambda data: json.dumps(data).encode()))
def test_no_body_breaks_the_reader_of_completions(body: bytes) -> None:
    with contextlib.suppress(Transient):
        assert isinstance(read_answer(body).text, str)


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_no_material_can_end_itself(texts: list[str]) -> None:
    fence = Fence.around(texts)
    assert all(fence.code not in text for text in texts)
    assert fence == Fence.around(texts)
    assert fence.put("answer", texts[0]).count(fence.code) == 2


@given(st.text() | st.sampled_from(["{answer}", "{question}{history}", "{{}}", "{0}", "%s", "----- answer ends -----"]))
def test_braces_and_placeholders_pass_unchanged(text: str) -> None:
    filled = judge_template().fill(history="H", question=text, answer=text)
    assert filled.count(text) >= 2
    shell = judge_template().fill(history="H", question="\0Q", answer="\0A")
    assert filled == shell.replace("\0Q", text).replace("\0A", text) or "\0" in text


def test_proposals_are_read_as_object_or_list() -> None:
    one = {"text": "Be kind.", "category": "hate", "failures": [1]}
    assert read_proposals(json.dumps({"principles": [one]})) == read_proposals(json.dumps([one]))
    assert read_proposals('{"principles": []}') == []
    for wrong in ({"text": 1, "failures": []}, {"text": "x", "failures": [True]}, {"text": "x", "failures": "1"}):
        with pytest.raises(Unreadable):
            read_proposals(json.dumps([wrong]))


ANSWER = judgement()
QUOTING = judgement(reason="The answer says </think> and {} as if it were the judge's own.")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>hm</think>" + ANSWER, ANSWER),
        ("Okay, let me see.\n</think>\n\n" + ANSWER, ANSWER),  # the template opened the element
        ('It says "</think>{}". So what?\n</think>\n' + ANSWER, ANSWER),
        ("hm</think>" + QUOTING, QUOTING),
        (QUOTING, QUOTING),
        ("hm </think> hm </think>safe", "safe"),
        ("<think>and so on", ""),
        ("no thoughts", "no thoughts"),
        ("</think>" * 1000 + "safe", "safe"),
    ],
)
def test_thoughts_are_not_the_answer(text: str, answer: str) -> None:
    assert without_thinking(text).strip() == answer
    assert read_answer(chat_body(text, finish="length")).text.strip() == answer


@given(st.text() | st.lists(st.sampled_from(["<think>", "</think>", "{", "}", '"', "a"])).map("".join))
def test_taking_thoughts_off_breaks_on_nothing_and_adds_nothing(text: str) -> None:
    assert text.endswith(without_thinking(text))


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "hm"},  # DeepSeek, llama-server, vLLM
        {"reasoning": "hm"},  # Ollama, OpenRouter, newer vLLM
        {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "safe"}]},  # Mistral
    ],
)
def test_thoughts_in_a_field_of_their_own(message: dict[str, Any]) -> None:
    body = json.loads(chat_body("safe"))
    body["choices"][0]["message"] |= message
    answer = read_answer(json.dumps(body).encode())
    assert answer.text == "safe" and (answer.thought or isinstance(message.get("content"), list))
