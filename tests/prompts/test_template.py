"""Templates: one-pass filling, and errors for placeholders that don't fit."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iteralign.errors import ConfigError
from iteralign.prompts import Template, load_template

_hostile = st.lists(
    st.text() | st.sampled_from(["{question}", "{principles}", "{", "}", "{{", "\\1", "\\g<0>", "{response}"])
).map("".join)


@given(question=_hostile, principles=_hostile)
def test_values_pass_through_unchanged(question: str, principles: str) -> None:
    template = Template("<{question}|{principles}|{question}>", {"question", "principles"})
    assert template.fill(question=question, principles=principles) == f"<{question}|{principles}|{question}>"


def test_wrong_placeholders_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown placeholder \{other\}"):
        Template("{question} {other}", {"question"})
    with pytest.raises(ConfigError, match=r"missing placeholder \{question\}"):
        Template("nothing", {"question"})
    with pytest.raises(ConfigError, match="filled with"):
        Template("{question}", {"question"}).fill()


def test_a_users_text_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "judge_repair.txt").write_text("Again: {problem}\n")
    for texts in (tmp_path, {"judge_repair": tmp_path / "judge_repair.txt"}):
        assert load_template("judge_repair", {"problem"}, texts).text == "Again: {problem}"
        assert "{problem}" in load_template("relate_repair", {"problem"}, texts).text
    with pytest.raises(ConfigError, match="can't be read"):
        load_template("judge_repair", {"problem"}, tmp_path / "none")
    with pytest.raises(ConfigError, match="can't be read"):
        load_template("judge_repair", {"problem"}, {"judge_repair": tmp_path / "none.txt"})
    with pytest.raises(ConfigError, match="template must be given"):
        load_template("template", {"question"}, tmp_path)
    (tmp_path / "jugde.txt").touch()
    with pytest.raises(ConfigError, match=r"no text is called jugde; there are .*judge"):
        load_template("judge_repair", {"problem"}, tmp_path)
