"""What a command writes: into directories that need not be there yet, and over nothing that is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from iteralign.cli.app import app
from iteralign.errors import ConfigError, IteralignError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.files import check_outputs
from iteralign.runs.run import run as start
from iteralign.settings.settings import load_settings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs") / "run"
    data = {"prompts": "demo", "limit": 8, "held_out": 0.5, "benign_limit": 4}
    settings = load_settings({"model": {"path": "demo"}, "data": data, "oracle": {"kind": "rules"}})
    return start(settings, path, target=FakeTarget(), oracle=FakeOracle(), trainer=FakeTrainer(path)).directory


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("q.txt").write_text("".join(f"How do I do thing number {n}?\n" for n in range(10)))
    Path("labels.csv").write_text("question,answer,label\nHow?,Sure.,unacceptable\n")
    return tmp_path


def iteralign(*arguments: str) -> str:
    """Runs a command; its expected error as text, empty where there was none."""
    try:
        typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    except IteralignError as error:
        assert error.exit_code == 2
        return str(error)
    return ""


COMMANDS: dict[str, tuple[Callable[[str, str], list[str]], list[str]]] = {
    "init": (lambda run, place: ["init", f"{place}/x.yaml"], ["x.yaml"]),
    "schema": (lambda run, place: ["schema", "-o", f"{place}/x.json"], ["x.json"]),
    "prepare": (
        lambda run, place: ["data", "prepare", "q.txt", "--held-out", "0.2", "-o", f"{place}/x.jsonl"],
        ["x.jsonl", "x-held-out.jsonl"],
    ),
    "export": (lambda run, place: ["export", run, "-o", f"{place}/sft.jsonl"], ["sft.jsonl"]),
    "constitution": (lambda run, place: ["constitution", "export", run, "-o", f"{place}/c.md"], ["c.md"]),
    "report": (lambda run, place: ["report", run, "-o", f"{place}/r.html"], ["r.html"]),
    "card": (
        lambda run, place: ["card", run, "-o", f"{place}/cards"],
        ["cards/model_card.md", "cards/dataset_card.md"],
    ),
    "judge-check": (lambda run, place: ["judge-check", "labels.csv", "-o", f"{place}/j.json"], ["j.json"]),
    "evaluate": (
        lambda run, place: [
            *("evaluate", "demo", "--tasks", "safety", "--harmful", "q.txt", "--limit", "1"),
            *("--max-new-tokens", "2", "-o", f"{place}/e.json"),
        ],
        ["e.json", "e.verdicts.jsonl"],
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_directories_are_made_and_nothing_is_overwritten(name: str, run: Path) -> None:
    command, files = COMMANDS[name]
    arguments = command(str(run), "new/deep")
    assert iteralign(*arguments) == ""
    made = [Path("new/deep") / file for file in files]
    assert sorted(path for path in Path("new").rglob("*") if path.is_file()) == sorted(made)
    for path in made:
        text, mine = path.read_text(), "somebody's own work"
        path.write_text(mine)
        assert "exists already" in iteralign(*arguments) and path.read_text() == mine
        for other in set(made) - {path}:
            other.unlink()
        assert "exists already" in iteralign(*arguments), f"{path} by itself"
        assert iteralign(*arguments, "--force") == "" and path.read_text()[:1] == text[:1]
        assert all(one.exists() for one in made)


def test_a_runs_own_report_and_cards_are_written_anew(run: Path) -> None:
    for arguments in (["report", str(run)], ["card", str(run)]):
        assert iteralign(*arguments) == iteralign(*arguments) == ""


def test_a_file_in_the_way_of_a_directory_is_told() -> None:
    assert "q.txt is no directory" in iteralign("data", "prepare", "q.txt", "-o", "q.txt/out.jsonl")
    assert "is a directory. Name a file" in iteralign("schema", "-o", ".")
    for arguments in (
        ["data", "prepare", "q.txt", "--held-out", "0.2"],
        ["evaluate", "demo"],
        ["judge-check", "labels.csv"],
    ):
        with pytest.raises(typer.BadParameter, match="is a directory"):
            iteralign(*arguments, "-o", ".")


def test_two_outputs_need_two_names() -> None:
    arguments = ["data", "prepare", "q.txt", "--held-out", "0.2", "-o", "x.jsonl", "--held-out-output", "./x.jsonl"]
    assert "Two outputs have one name" in iteralign(*arguments)


def test_a_place_that_may_not_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigError, match="may not be written to"):
        check_outputs(Path("x.json"))


def test_the_schema_is_written_whole() -> None:
    assert iteralign("schema", "-o", "s.json") == "" and "properties" in json.loads(Path("s.json").read_text())
