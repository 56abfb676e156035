"""`iteralign init` and `iteralign schema`: settings to start from, and what an editor learns of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from iteralign.cli.app import app
from iteralign.cli.init import FULL
from iteralign.errors import ConfigError
from iteralign.preflight.plan import make_plan
from iteralign.settings.file import every_setting
from iteralign.settings.settings import Settings, load_settings

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def iteralign(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_three_options_write_settings_of_under_twenty_lines_that_plan() -> None:
    done = iteralign("init", "my.yaml", "--model", "demo", "--prompts", "demo", "--judge", "rules")
    assert done.exit_code == 0 and "Next: iteralign plan my.yaml" in done.output and "Edit" not in done.output
    text = Path("my.yaml").read_text()
    assert len(text.splitlines()) < 20
    assert yaml.safe_load(text) == {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}
    assert make_plan(load_settings("my.yaml")).rounds > 0


@pytest.mark.parametrize("model", ["org/name", "./models/my model", "smollm2.gguf", "C: odd # name"])
def test_a_model_a_judge_and_its_server_are_kept_as_they_were_given(model: str) -> None:
    judge = ["--judge", "qwen2.5", "--base-url", "http://127.0.0.1:8000/v1"]
    iteralign("init", "a.yaml", "--model", model, "--prompts", "p: q.jsonl", *judge, "--set", "form.name=chat")
    settings = load_settings("a.yaml")
    assert (settings.model.path, settings.data.prompts, settings.form.name) == (model, "p: q.jsonl", "chat")
    assert settings.oracle.judge is not None and settings.oracle.judge.base_url == "http://127.0.0.1:8000/v1"
    assert "concurrency" not in Path("a.yaml").read_text(), "what has its default is left out"


@pytest.mark.parametrize("full", [[], ["--full"]])
@pytest.mark.parametrize("model, benign", [("demo", "demo"), ("org/name", "everyday")])
def test_harmless_questions_are_such_as_the_model_can_know(model: str, benign: str, full: list[str]) -> None:
    iteralign("init", "a.yaml", "--model", model, "--prompts", "p.jsonl", "--judge", "rules", *full)
    assert load_settings("a.yaml").data.benign == benign


def test_without_options_it_loads_and_says_what_to_edit() -> None:
    done = iteralign("init")
    assert "Edit model.path, data.prompts, oracle.judge.model in it." in done.output
    assert load_settings("config.yaml").oracle.judge is not None
    assert "Edit first: model.path" in Path("config.yaml").read_text()


def test_full_is_the_commented_file_with_the_same_values_in_it() -> None:
    iteralign("init", "plain.yaml", "--full")
    assert Path("plain.yaml").read_text() == FULL.read_text(encoding="utf-8")
    given = ["--model", "org/a b", "--prompts", "mine.jsonl", "--judge", "qwen", "--base-url", "http://h:1/v1"]
    iteralign("init", "full.yaml", "--full", *given)
    full = load_settings("full.yaml")
    assert full.oracle.judge is not None
    assert (full.model.path, full.data.prompts) == ("org/a b", "mine.jsonl")
    assert (full.oracle.judge.model, full.oracle.judge.base_url) == ("qwen", "http://h:1/v1")
    assert Path("full.yaml").read_text().count("#") == FULL.read_text(encoding="utf-8").count("#")
    iteralign("init", "rules.yaml", "--full", "--judge", "rules")
    assert load_settings("rules.yaml").oracle.kind == "rules"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["there.yaml"], "exists already"),
        (["new.yaml", "--judge", "rules", "--base-url", "http://h/v1"], "no server"),
        (["new.yaml", "--judge", "http://127.0.0.1:8000/v1"], "give it as --base-url"),
        (["new.yaml", "--set", "trainig.epochs=2"], "did you mean training"),
        (["new.yaml", "--full", "--set", "seed=2"], "--set goes with the short file"),
        (["new.yaml", "--base-url", "http://me:secret@h/v1"], "address alone"),
    ],
)
def test_what_makes_no_sense_writes_nothing(arguments: list[str], message: str) -> None:
    Path("there.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=message):
        iteralign("init", *arguments)
    assert Path("there.yaml").read_text() == "mine" and not Path("new.yaml").exists()


def test_the_schema_describes_every_setting() -> None:
    nameless = [key for key, field in every_setting(Settings).items() if not field.description]
    assert not nameless, "a setting has a line under its field that says what it does"
    schema = json.loads(iteralign("schema").output)
    assert schema["$defs"]["TrainingSettings"]["properties"]["method"] == {
        **{"default": "lora", "enum": ["lora", "full"], "title": "Method", "type": "string"},
        "description": "lora trains adapters beside the weights, full trains all weights.",
    }


def test_the_schema_in_a_file_comes_with_the_line_that_editors_read() -> None:
    done = iteralign("schema", "-o", "iteralign.schema.json")
    assert "# yaml-language-server: $schema=iteralign.schema.json" in done.output
    assert json.loads(Path("iteralign.schema.json").read_text())["title"] == "Settings"


@pytest.mark.parametrize("path", [*RECIPES, FULL], ids=lambda path: path.name)
def test_the_schema_takes_what_the_program_takes(path: Path) -> None:
    schema = json.loads(iteralign("schema").output)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert not list(misfits(values, schema, schema))
    assert list(misfits({**values, "trainig": {}}, schema, schema)) == ["trainig: unknown"]
    assert list(misfits({**values, "seed": "x"}, schema, schema)) == ["seed: not integer"]


TYPES: dict[str, Any] = {
    **{"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool},
    "null": type(None),
}


def misfits(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> list[str]:
    """What in the value the schema forbids, as far as our schema uses JSON schema: references, types, choices, keys."""
    if "$ref" in schema:
        return misfits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, where)
    if "anyOf" in schema:
        tried = [misfits(value, one, root, where) for one in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: not among {schema['enum']}"]
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return [f"{where}: not {schema['type']}"]
    found = []
    for key, inner in value.items() if isinstance(value, dict) else ():
        place = f"{where}.{key}".lstrip(".")
        known = schema.get("properties", {}).get(key)
        found += [f"{place}: unknown"] if known is None else misfits(inner, known, root, place)
    for item in value if isinstance(value, list) else ():
        found += misfits(item, schema["items"], root, where)
    return found
