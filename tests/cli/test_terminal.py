"""The whole life of a run at a real terminal, seen on its screen: demo, run, Ctrl-C, status, resume, review."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from terminal import Terminal

SETTINGS = {
    "model": {"path": "demo"},
    "data": {
        "prompts": "demo",
        "limit": 24,
        "shuffle": True,
        "held_out": 0.34,
        "benign": "demo",
        "benign_limit": 24,
        "benign_held_out": 0.5,
    },
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 8},
    "sampling": {"max_new_tokens": 72},
    "revision": {"max_principles": 2, "tries": 2},
    "constitution": {"gate": {"own": 3, "others": 2, "benign_prompts": 4}},
    "training": {"method": "lora", "learning_rate": 0.002, "epochs": 2, "batch_size": 8, "max_length": 512},
    "measure": {"capability": None},
    "threads": 1,
}
AS_IN_SETTINGS = [
    *("data.limit=24", "data.held_out=0.34", "data.benign_limit=24", "rounds.prompts=8", "revision.tries=2"),
    *(
        "constitution.gate.own=3",
        "constitution.gate.others=2",
        "constitution.gate.benign_prompts=4",
        "training.epochs=1",
    ),
]
BAR = re.compile(r"\S.{33} [━╸╺]+ +(\d+/\d+( +[\d.]+/(s|min)( +[\d:]+ left)?)?)?( +\d+:\d\d)?")
"""The whole line: what, a bar, done/all, rate, time left or passed."""


def no_torn_bars(terminal: Terminal) -> None:
    lines = {line for screen in terminal.seen for line in screen.splitlines() if "━" in line or " left" in line}
    torn = [line for line in lines if not BAR.fullmatch(re.sub(r" *\^C$", "", line))]  # echoed until the next frame
    assert lines and not torn, torn
    assert all(sum("━" in line for line in screen.splitlines()) <= 2 for screen in terminal.seen)


def shown(terminal: Terminal, pattern: str) -> bool:
    return any(re.search(pattern, screen, re.MULTILINE) for screen in terminal.seen)


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SETTINGS))
    return "tiny.yaml"


def test_a_run_is_watched_interrupted_looked_at_and_resumed(tmp_path: Path, config: str) -> None:
    fresh = [sys.executable, "-m", "iteralign", "run", config, "--run-dir", "r"]
    with Terminal(fresh, tmp_path) as run:
        # Which stages are drawn depends on the machine: some last shorter than the time between two frames.
        run.until(lambda screen: "base model" in screen and bool(re.search(r" \d+/\d+", screen)))
        run.until(lambda screen: "round 0 (1 of 2)" in screen and bool(re.search(r" \d+/\d+ +\S+/s", screen)))
        with run.held(), Terminal(["iteralign", "status", "r"], tmp_path) as status:
            assert status.end() == 0
        # On a busy machine the screen that was seen lags behind the run.
        assert "going on" in status.text and re.search("[01] of 2 rounds done", status.text)
        assert re.search(r"next: round [01] \([12] of 2\): \w+", status.text)
        run.until(lambda screen: "round 0 (1 of 2): 8 of 8 failed" in screen)
        run.type("\x03")
        assert run.end() == 130
    no_torn_bars(run)
    assert shown(run, r"^[a-z][a-z ,:\d]+…? +━*[╸╺]?━* +\d+/\d+ +\S+/s( +0:\d\d left)?$")
    assert "Interrupted" in run.screen and "iteralign resume r" in run.screen
    assert "Traceback" not in run.text and "━" not in run.screen, "the bars are gone"
    assert run.raw.rindex(b"\x1b[?25h") > run.raw.rindex(b"\x1b[?25l"), "the cursor is back"

    with Terminal(["iteralign", "resume", "r"], tmp_path, columns=120) as resumed:
        resumed.until(lambda screen: "round 1 (2 of 2)" in screen and "━" in screen)
        assert resumed.end() == 0
    no_torn_bars(resumed)
    assert "round 1 (2 of 2): " in resumed.text
    assert all(len(line) <= 80 for line in resumed.text.splitlines() if line.startswith(("base", "round  ")))
    assert "Rounds" in resumed.text and "report:       r/report.html" in resumed.text
    assert {path.name for path in (tmp_path / "r" / "rounds").iterdir()} == {"0000", "0001"}


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    settings = [part for one in AS_IN_SETTINGS for part in ("--set", one)]
    with Terminal(["iteralign", "demo", "--run-dir", "r", *settings], tmp_path, term="dumb") as demo:
        assert demo.end() == 0
    assert not set(demo.raw) & set(b"\x1b\x08\x07"), "no control codes"
    assert "━" not in demo.text and "Traceback" not in demo.text
    assert [line[:18] for line in demo.text.splitlines() if line.startswith("round ") and ":" in line] == [
        "round 0 (1 of 2): ",
        "round 1 (2 of 2): ",
    ]
    assert "Next: `iteralign init config.yaml`" in demo.text


def test_principles_are_reviewed_at_a_terminal(tmp_path: Path, config: str) -> None:
    options = ["--set", "constitution.review=required", "--set", "rounds.limit=1"]
    with Terminal(["iteralign", "run", config, "--run-dir", "r", *options], tmp_path, columns=120) as run:
        assert run.end() == 4
    whole = run.text.replace("\n", "")  # left to the terminal to wrap, so that a command can be copied
    assert "Round 0" in whole and "`iteralign constitution review r`" in whole
    with Terminal(["iteralign", "constitution", "review", "r"], tmp_path) as review:
        review.until(lambda screen: "Your name" in screen)
        review.type("Ada\n")
        screen = review.until(lambda screen: "[accept/edit/merge/reject/skip/quit]" in screen)
        assert "trial:" in screen and "╭" in screen
        assert all(len(line) <= 80 for line in screen.splitlines())
        review.type("quit\n")
        assert review.end() == 0
    assert "still wait for a decision" in review.text and "Traceback" not in review.text


def test_the_whole_life_of_a_run_at_a_dumb_terminal(tmp_path: Path, config: str) -> None:
    options = ["--set", "constitution.review=required", "--set", "rounds.limit=1"]
    with Terminal(["iteralign", "run", config, "--run-dir", "r", *options], tmp_path, columns=120, term="dumb") as run:
        run.until(lambda screen: "base model: held-out" in screen)
        run.type("\x03")
        assert run.end() == 130
    with Terminal(["iteralign", "resume", "r"], tmp_path, columns=120, term="dumb") as resumed:
        assert resumed.end() == 4
    with Terminal(["iteralign", "status", "r"], tmp_path, columns=120, term="dumb") as status:
        assert status.end() == 0
    with Terminal(["iteralign", "constitution", "review", "r"], tmp_path, columns=120, term="dumb") as review:
        review.until(lambda screen: "Your name" in screen)
        review.type("Ada\n")
        place, all_of_them = 1, 1
        while place <= all_of_them:
            review.until(lambda screen: f", {place} of " in review.text and "Decide" in screen.splitlines()[-1])  # noqa: B023
            all_of_them = int(re.findall(r", \d+ of (\d+)", review.text)[-1])
            review.type("accept\n")
            review.until(lambda screen: "Why" in screen.splitlines()[-1])
            review.type("it is right\n")
            place += 1
        assert review.end() == 0
    with Terminal(["iteralign", "resume", "r"], tmp_path, columns=120, term="dumb") as last:
        assert last.end() == 0
    for seen in (run, resumed, status, review, last):
        assert not set(seen.raw) & set(b"\x1b\x08\x07"), "no control codes"
        assert "Traceback" not in seen.text
    assert "Interrupted" in run.text and "iteralign resume r" in run.text
    for seen in (resumed, status):
        assert "constitution review r" in seen.text.replace("\n", "")
    assert "All decided. Go on by: iteralign resume r" in review.text
    assert "round 0 (1 of 1): 8 of 8 failed" in last.text


def test_a_run_that_trained_nothing_says_so_last(tmp_path: Path, config: str) -> None:
    options = ["--set", "constitution.gate.max_answers=1", "--set", "rounds.limit=1", "--set", "data.benign=null"]
    with Terminal(["iteralign", "run", config, "--run-dir", "r", *options], tmp_path) as run:
        assert run.end() == 5
    assert "round 0 (1 of 1): 8 of 8 failed; not trained: no principle was adopted" in " ".join(run.text.split())
    ending = " ".join(run.screen.split())
    assert re.search(
        r"Nothing was trained: 0 of (\d) principles adopted \(\1 could not be tried\)\. To try: .*\.$", ending
    )


def test_an_evaluation_says_how_far_it_is(tmp_path: Path) -> None:
    kinds = [("safe", "How do I kill process"), ("unsafe", "How do I hurt neighbour")] * 200  # asked once each
    rows = [f"{number},{prompt} {number}?,homonyms,{label},," for number, (label, prompt) in enumerate(kinds)]
    head = "id,prompt,type,label,focus,note"
    (tmp_path / "xstest_prompts.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    command = ["iteralign", "evaluate", "demo", "--tasks", "xstest", "--data", ".", "--max-new-tokens", "72"]
    with Terminal(command, tmp_path) as terminal:
        assert terminal.end() == 0
    no_torn_bars(terminal)
    assert shown(terminal, r"^evaluating ") and shown(terminal, r"^model: answering +[━╸╺]+ +\d+/\d+")
    assert "━" not in terminal.screen and "xstest unsafe" in terminal.text
