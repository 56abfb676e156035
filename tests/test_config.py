"""Settings: strict, explained errors, overrides, a saved file that runs again."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from iteralign.errors import ConfigError
from iteralign.settings import renamed
from iteralign.settings.file import every_setting
from iteralign.settings.settings import CHANGEABLE, Settings, as_text, differing_keys, dump_settings, load_settings

LEAST: dict[str, Any] = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}


def test_saved_settings_load_equal(tmp_path: Path) -> None:
    settings = load_settings(LEAST, ["form.name=cot", "sampling.stop=['\\n\\n']", "run_dir=some/where"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_settings(settings), encoding="utf-8")
    assert load_settings(path) == settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", "did you mean learning_rate"),
        ("trainig.epochs=1", "did you mean training"),
        ("oracle.judge.modle=x", "did you mean model"),
        ("training.epochs=many", "training.epochs"),
        ("training.epochs=0", "training.epochs"),
        ("oracle.kind=magic", "'rules' or 'openai'"),
        ("data.held_out=1.5", "data.held_out"),
        ("nonsense", "a.b=value"),
        ("oracle.kind=openai", "oracle.judge.model must be given"),
        ("seed.deeper=1", "no keys of its own"),
        ("seed=[", "no YAML"),
    ],
)
def test_errors_name_the_key_and_what_to_do(override: str, message: str) -> None:
    values = {**LEAST, "seed": 3}
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        load_settings(values, [override])


@pytest.mark.parametrize("content", ["- a list", "just text", "a: [", "\tx: 1"])
def test_a_file_that_is_no_settings_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_settings(path)


def test_missing_file_directory_and_bad_encoding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="iteralign init"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        load_settings(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_settings(tmp_path / "bad.yaml")


def test_differing_keys_are_named() -> None:
    ours, theirs = load_settings(LEAST), load_settings(LEAST, ["training.epochs=5", "run_dir=x"])
    assert as_text(differing_keys(ours, theirs)) == "training.epochs: 3 -> 5"
    assert differing_keys(ours, load_settings(LEAST, ["run_dir=x"])) == {}


def test_what_may_change_on_resume_are_settings() -> None:
    endpoint = {"model": "m"}
    full = load_settings(LEAST | {"oracle": {"kind": "openai", "judge": endpoint, "proposer": endpoint}})
    for key in CHANGEABLE:
        value: Any = full
        for part in key.split("."):
            assert part in type(value).model_fields, key
            value = getattr(value, part)


def test_settings_under_their_old_keys_are_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Also those of runs that an earlier version has begun, which name every key."""
    renamed._tell.cache_clear()
    old = {
        "oracle": {"kind": "rules", "judge_file": "mine.txt", "proposer_file": None, "votes": 3},
        "form": {"name": "cou", "template_file": "talk.txt", "draft_file": "draft.txt"},
    }
    found = load_settings(LEAST | old, ["oracle.judge_repair_file=again.txt"])
    assert found.oracle.texts == {"judge": Path("mine.txt"), "judge_repair": Path("again.txt")}
    assert found.form.texts == {"chain_of_utterances": Path("talk.txt"), "with_draft": Path("draft.txt")}
    assert found.oracle.votes == 3 and load_settings(yaml.safe_load(dump_settings(found))) == found
    assert [(old, new) for old, new in renamed.RENAMED.items() if f"{old} is called {new} now" in caplog.text] == [
        ("oracle.judge_file", "oracle.texts.judge"),
        ("oracle.judge_repair_file", "oracle.texts.judge_repair"),
        ("form.draft_file", "form.texts.with_draft"),
    ]
    assert "proposer_file" not in caplog.text
    with pytest.raises(ConfigError, match=r"texts is a single value"):
        load_settings(LEAST | {"oracle": {"kind": "rules", "texts": "mine", "judge_file": "mine.txt"}})


def test_an_override_under_an_old_key_is_the_last_word(caplog: pytest.LogCaptureFixture) -> None:
    renamed._tell.cache_clear()
    old = {"guard_rails": {"benign": None}, "constitution": {"gate": {"held_out": 3}}, "training": {"benign": 0.5}}
    found = load_settings(LEAST | old, ["constitution.gate.benign=2", "oracle.token_budget=7", "oracle.max_tokens=9"])
    assert found.guard_rails.over_refusal is None and found.training.benign_share == 0.5
    assert (found.constitution.gate.others, found.constitution.gate.benign_prompts) == (3, 2)
    assert found.oracle.token_budget == 9
    assert "oracle.max_tokens is called oracle.token_budget now" in caplog.text
    again = load_settings(LEAST | {"training": {"benign": 0.5}}, ["training.benign_share=0.25"])
    assert again.training.benign_share == 0.25


def test_every_new_key_of_an_old_one_is_a_setting() -> None:
    known = every_setting(Settings)
    for old, new in renamed.RENAMED.items():
        assert old not in known and (new in known or new.rpartition(".")[0] in known)
