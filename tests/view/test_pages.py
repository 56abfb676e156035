"""The pages of runs that are finished, wait, go on, are torn or hostile; and that looking at a run changes nothing in it."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report.conftest import finished, hostile  # noqa: F401  # fixtures

from iteralign import layout, read_run
from iteralign.errors import CorruptFileError
from iteralign.files import append_line
from iteralign.oracles.budget import Call
from iteralign.report.html import SECTIONS
from iteralign.view import apart, kept
from iteralign.view.found import RunLine, line_of, runs_under
from iteralign.view.kept import problems, sections
from iteralign.view.now import settled, stamp
from view.conftest import Client, Start

PARTS = ("now", "checked", *SECTIONS)


def contents(run: Path) -> dict[str, str]:
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.rglob("*")
        if path.is_file()
    }


def whole(client: Client, key: str = ".") -> dict[str, str]:
    """Every part of a run's page."""
    replies = {name: client.ask("/part", key=key, name=name) for name in PARTS}
    assert {name: reply.status for name, reply in replies.items()} == dict.fromkeys(PARTS, 200)
    return {name: reply.text for name, reply in replies.items()}


def test_a_finished_run_is_its_report(served: Start, finished: Path) -> None:  # noqa: F811
    before = contents(finished)
    client = served(finished.parent)
    lines = client.ask("/lines").text
    assert "finished" in lines and "<svg" in lines and f"key={finished.name}" in lines
    assert 'data-part="constitution"' in client.ask("/run", key=finished.name).text
    parts = whole(client, finished.name)
    principle = read_run(finished).constitution()[0][0]
    assert principle.text in parts["constitution"] and "rounds done" in parts["now"]
    assert client.ask("/review", key=finished.name).status == 200
    assert contents(finished) == before, "to look at a run changes nothing in it"


def test_a_large_run_is_looked_at_by_another_process_with_the_same_outcome(
    finished: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    monkeypatch.setattr(apart, "_LARGE", 0)
    assert apart.for_all_of(run, os.getpid) != os.getpid()
    assert apart.for_all_of(run, problems, run) == []
    (run / layout.CONSTITUTION).write_text("{")
    with pytest.raises(CorruptFileError, match="constitution"):
        apart.for_all_of(run, sections, run)


def test_files_that_were_changed_are_told_last(served: Start, finished: Path, tmp_path: Path) -> None:  # noqa: F811
    shutil.copytree(finished, tmp_path / "run")
    client = served(tmp_path)
    assert "every file is what the run wrote" in client.ask("/part", key="run", name="checked").text
    (tmp_path / "run" / layout.METRICS).touch()  # as if a round had ended
    (tmp_path / "run" / layout.CONSTITUTION_TO_READ).write_text("another")
    assert "is not what was computed" in client.ask("/part", key="run", name="checked").text


def test_answers_come_in_pages_and_are_searched_at_the_server(served: Start, finished: Path) -> None:  # noqa: F811
    client = served(finished)
    run = read_run(finished)
    everything = client.ask("/answers", key=".", set=["held-out", "benign"], count=100).json()
    measured = len(run.prompts(layout.HELD_OUT)) + len(run.prompts(layout.BENIGN_HELD_OUT))
    assert everything["total"] == everything["fit"] == measured == len(everything["rows"])
    pages = [client.ask("/answers", key=".", start=start, count=7).json()["rows"] for start in range(0, measured, 7)]
    assert [row["id"] for rows in pages for row in rows] == [row["id"] for row in everything["rows"]]
    asked = client.ask("/answers", key=".", set="asked", count=100).json()
    assert asked["fit"] == len(run.prompts()) and {row["after"] for row in asked["rows"]} == {None}
    found = client.ask("/answers", key=".", set="asked", words="NUMBER 7?").json()
    assert [row["question"] for row in found["rows"]] == ["This is a bad question, number 7?"] or found["fit"] == 0
    wanted = everything["kinds"][0]
    some = client.ask("/answers", key=".", kind=wanted, count=100).json()
    assert 0 < some["fit"] == sum(row["kind"] == wanted for row in everything["rows"])


def test_a_run_is_shown_at_every_moment_of_its_life(served: Start, finished: Path, tmp_path: Path) -> None:  # noqa: F811
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for name in (layout.METRICS, layout.REPORT):
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run / layout.MODEL, ignore_errors=True)
    client = served(tmp_path)
    for one in reversed(read_run(run).rounds()):
        for stage in reversed(one.stages):
            path = one.directory / stage.file
            text = path.read_bytes()
            path.write_bytes(text[: len(text) // 2])  # as a copy that is under way may be
            assert client.ask("/part", key="run", name="now").status == 200
            path.unlink()
        (one.directory / layout.ROUND_METRICS).unlink(missing_ok=True)
        whole(client, "run")
        shutil.rmtree(one.directory)
    whole(client, "run")


def test_the_first_page_says_what_is_wrong_with_a_run(served: Start, finished: Path, tmp_path: Path) -> None:  # noqa: F811
    for name in ("good", "torn"):
        shutil.copytree(finished, tmp_path / "runs" / name)
    (tmp_path / "runs" / "torn" / layout.ENVIRONMENT).write_text("{")
    lines = served(tmp_path).ask("/lines").text
    assert "not what iteralign wrote" in lines and "runs/good" in lines
    assert set(runs_under(tmp_path)) == {"runs/good", "runs/torn"}


def test_the_first_page_measures_a_run_again_when_a_round_has_ended_and_tells_its_state_and_cost_always(
    served: Start,
    finished: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []

    def looks(key: str, path: Path) -> RunLine:
        looked.append(key)
        return line_of(key, path)

    monkeypatch.setattr(kept, "line_of", looks)
    for name in ("one", "two"):
        shutil.copytree(finished, tmp_path / name)
    client = served(tmp_path)
    assert client.ask("/lines").text == client.ask("/lines").text and sorted(looked) == ["one", "two"]
    append_line(tmp_path / "one" / layout.ATTEMPTS, {"event": "stopped: OracleError"})
    assert ">stopped</span>" in client.ask("/lines").text and len(looked) == 2
    append_line(tmp_path / "one" / layout.ATTEMPTS, {"event": "started", "pid": os.getpid()})
    call = Call("hash", "judge", "model", 10, 2, 1.5, False, "answered", 1)
    (tmp_path / "one" / layout.CALLS).parent.mkdir(exist_ok=True)
    append_line(tmp_path / "one" / layout.CALLS, asdict(call))
    assert "$1.50" in client.ask("/lines").text and len(looked) == 2
    (tmp_path / "two" / layout.METRICS).touch()  # as if a round had ended
    (tmp_path / "one" / layout.ENVIRONMENT).write_text("{")
    assert "not what iteralign wrote" in client.ask("/lines").text and looked[2:] == ["two"]
    shutil.copy(finished / layout.ENVIRONMENT, tmp_path / "one")
    assert "not what iteralign wrote" not in client.ask("/lines").text


@pytest.mark.parametrize("key", ["..", "../run", "/etc", "nobody", "", "run/rounds"])
def test_nothing_else_than_runs_is_given_out(served: Start, finished: Path, tmp_path: Path, key: str) -> None:  # noqa: F811
    shutil.copytree(finished, tmp_path / "in" / "run")
    client = served(tmp_path / "in")
    for path in ("/run", "/part", "/answers", "/review"):
        assert client.ask(path, key=key, name="now").status == 404
    assert client.ask("/static/..%2f..%2fserver.py").status == 404
    assert client.ask("/part", key="run", name="nothing").status == 404


class Markup(HTMLParser):
    """What a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "img", "style", "object", "base", "meta", "link"):
            self.active.append(tag)
        self.active += [name for name, _ in attrs if name.startswith("on") or name in ("style", "src", "srcdoc")]


def test_hostile_text_stays_text(served: Start, hostile: Path) -> None:  # noqa: F811
    client = served(hostile.parent)
    key = hostile.name
    texts = [*whole(client, key).values(), client.ask("/lines").text]
    for text in texts:
        parser = Markup()
        parser.feed(text)
        assert parser.active == []
    answers = client.ask("/answers", key=key, set="asked")
    assert answers.headers["content-type"] == "application/json"
    assert "<script>" in json.dumps(answers.json()), "data, which the page's script puts in as text"


def test_a_change_is_seen(finished: Path, tmp_path: Path) -> None:  # noqa: F811
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    was, had_settled = stamp(run), settled(run)
    assert (stamp(run), settled(run)) == (was, had_settled)
    with (run / layout.WARNINGS).open("a") as file:
        file.write('{"warning": "new"}\n')
    assert stamp(run) != was and settled(run) == had_settled
    (run / layout.METRICS).unlink()
    assert settled(run) != had_settled
