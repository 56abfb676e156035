"""The commands around a constitution as a user meets them."""

import json
from functools import partial
from pathlib import Path

import pytest
import yaml
from commands import iteralign as narrow

FAST = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 24, "held_out": 0.25, "benign_limit": 16},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 9},
    "sampling": {"max_new_tokens": 8},
    "training": {"epochs": 1, "min_benign": 2, "max_length": 256, "lora_r": 2},
    "constitution": {"review": "required", "gate": {"own": 2, "others": 2, "benign_prompts": 2}},
    "threads": 1,
}


iteralign = partial(narrow, columns=160)


def decided(path: Path, decision: str) -> str:
    data = yaml.safe_load(path.read_text())
    for entry in data["principles"]:
        entry["decision"] = decision
    return yaml.safe_dump(data)


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped for each round's review and was resumed until it was finished; what it said is in said.json."""
    place = tmp_path_factory.mktemp("reviewed")
    (place / "config.yaml").write_text(json.dumps(FAST))
    done = iteralign("run", "config.yaml", "--run-dir", "run", cwd=place)
    said = [[done.returncode, done.stderr, iteralign("status", "run", cwd=place).stdout]]
    while done.returncode == 4:
        waiting = next(
            path
            for path in sorted((place / "run" / "rounds").glob("*/review-1.yaml"))
            if not (path.parent / "3d_review-1.jsonl").exists()
        )
        (place / "mine.yaml").write_text(decided(waiting, "accept"))
        told = iteralign("constitution", "review", "run", "--file", "mine.yaml", "--by", "Ada", cwd=place)
        assert told.returncode == 0 and "All decided" in told.stdout, told.stderr
        done = iteralign("resume", "run", cwd=place)
        said.append([done.returncode, done.stderr, ""])
    (place / "said.json").write_text(json.dumps(said))
    return place


def test_a_run_waits_for_its_review_and_goes_on_with_the_decisions(reviewed: Path) -> None:
    said = json.loads((reviewed / "said.json").read_text())
    assert said[0][0] == 4 and "iteralign constitution review" in said[0][1] and "Traceback" not in said[0][1]
    assert "a person decides" in said[0][2]
    assert said[-1][0] == 0 and len(said) == 3, said
    entries = yaml.safe_load((reviewed / "run" / "constitution.yaml").read_text())["principles"]
    decided = [entry for entry in entries if entry["history"][-1]["by"] == "Ada"]
    assert decided and all(entry["status"] == "adopted" for entry in decided)


def test_show_as_table_and_tree(reviewed: Path) -> None:
    table = iteralign("constitution", "show", "run", cwd=reviewed)
    assert "r0000-01" in table.stdout and "mends" in table.stdout, table.stderr
    tree = iteralign("constitution", "show", "run", "--tree", "--all", cwd=reviewed)
    assert "tried by gate" in tree.stdout and "adopted by Ada" in tree.stdout


def test_diff(reviewed: Path) -> None:
    assert "+ r0000-01" in iteralign("constitution", "diff", "run", "start", "0", cwd=reviewed).stdout.replace(
        "\n", " "
    )
    assert "No difference." in iteralign("constitution", "diff", "run", "0", "0", cwd=reviewed).stdout
    backwards = iteralign("constitution", "diff", "run", "1", "0", cwd=reviewed)
    assert backwards.returncode == 2 and "earlier" in backwards.stderr
    beyond = iteralign("constitution", "diff", "run", "0", "99", cwd=reviewed)
    assert beyond.returncode == 1 and "no round 99" in beyond.stderr


@pytest.mark.parametrize("form", ["md", "yaml", "json", "system-prompt", "policy"])
def test_export(reviewed: Path, form: str) -> None:
    done = iteralign("constitution", "export", "run", "--format", form, "-o", f"out.{form}", cwd=reviewed)
    assert done.returncode == 0, done.stderr
    assert (reviewed / f"out.{form}").read_text().strip()


def test_a_finished_runs_constitution_can_be_reviewed_and_started_from(reviewed: Path, tmp_path: Path) -> None:
    first = iteralign("constitution", "review", "run", cwd=reviewed)
    assert first.returncode == 0 and "No terminal" in first.stdout, first.stderr
    data = yaml.safe_load((reviewed / "run" / "review.yaml").read_text())
    for place, entry in enumerate(data["principles"]):
        entry["decision"] = "reject" if place else "edit"
        entry["text"] = entry["text"] if place else "Decline whatever would hurt somebody, and say why."
    (reviewed / "final.yaml").write_text(yaml.safe_dump(data))
    done = iteralign("constitution", "review", "run", "--file", "final.yaml", "--by", "Bo", cwd=reviewed)
    assert "reviewed_constitution.yaml" in done.stdout, done.stderr
    settings = FAST | {"constitution": {"propose": False, "gate": FAST["constitution"]["gate"]}}  # type: ignore[index]
    (tmp_path / "c.yaml").write_text(json.dumps(settings))
    source = str(reviewed / "run" / "reviewed_constitution.yaml")
    again = iteralign("run", "c.yaml", "--constitution", source, "--run-dir", "r", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    (only,) = yaml.safe_load((tmp_path / "r" / "constitution.yaml").read_text())["principles"]
    assert only["text"].startswith("Decline whatever") and only["id"].startswith("given-")
    assert [event["kind"] for event in only["history"]][-3:-1] == ["given", "tried"], (
        "an edited principle is tried first"
    )


@pytest.mark.parametrize("command", [["show"], ["review"], ["diff"], ["export"]])
def test_a_directory_without_a_run_is_one_message(command: list[str], tmp_path: Path) -> None:
    extra = ["0", "1"] if command == ["diff"] else []
    done = iteralign("constitution", *command, ".", *extra, cwd=tmp_path)
    assert done.returncode == 1 and "no run directory" in done.stderr and "Traceback" not in done.stderr
