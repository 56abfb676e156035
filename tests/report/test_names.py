"""A run's name: where it is shown, what its directory is called, and what can't be a name."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from iteralign.cli.app import app
from iteralign.errors import ConfigError
from iteralign.report.cards import dataset_card
from iteralign.report.compare import compare_runs
from iteralign.report.view import view_of
from iteralign.settings.settings import load_settings

from .conftest import fake_run, small

NAMES = ["first", "Größe 2, lora r=16", "2026", "[bold]x", "試験"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_wherever_the_run_is(name: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", name=name)
    done = CliRunner().invoke(app, ["status", str(run)], env={"COLUMNS": "300"})
    assert f"({name})" in done.output.replace("\n", " ")
    assert view_of(run).facts.name == name
    assert "| run |" in dataset_card(run, "me/data")
    other = fake_run(tmp_path / "other")
    made = compare_runs([run, other])
    assert [column.name for column in made.columns] == [name, "other"] and "name" not in made.settings
    again = fake_run(tmp_path / "again", name=name)
    assert [column.name for column in compare_runs([run, again]).columns] == [str(run), str(again)]


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a\\b", "x" * 256, "試" * 90, "..", "-x", "a\nb", "x ", "\u202eb", "?"]
)
def test_what_can_be_no_directory_is_refused_by_one_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^settings: name: must be 1 to 100 characters") as caught:
        load_settings(small(tmp_path) | {"name": name})
    assert str(caught.value).count("name:") == 1


def test_the_option_names_the_run_and_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["data.limit=4", "data.benign_limit=2", "rounds.limit=1", "training.epochs=1", "threads=1"]
    options = [item for value in few for item in ("--set", value)]
    assert CliRunner().invoke(app, ["demo", "--name", "2026 test", *options]).exit_code == 0
    (directory,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"2026-test-\d{8}-\d{6}", directory.name)
    assert load_settings(directory / "config.yaml").name == "2026 test"
    assert CliRunner().invoke(app, ["resume", str(directory), "--set", "name=other"]).exit_code == 0
    assert load_settings(directory / "config.yaml").name == "other"
    refused = CliRunner().invoke(app, ["demo", "--name", "a/b"])
    assert isinstance(refused.exception, ConfigError) and "must be 1 to 100 characters" in str(refused.exception)
