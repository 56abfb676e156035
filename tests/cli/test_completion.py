"""Completion as the shell asks for it: typer's own scripts, a real bash where there is one."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import iteralign

from iteralign.cli.completion import complete_setting, join_words

PROGRAM = f"#!{sys.executable}\nfrom iteralign.cli import main\nmain()\n"

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and `iteralign` on the path."""
    program = tmp_path / "bin" / "iteralign"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}


def offered(shell: str, line: str, environment: dict[str, str]) -> list[str]:
    """What the program answers to the shell's script for this line, the cursor at its end."""
    words = line.split(" ")
    asked = {"_ITERALIGN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    asked |= {
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = iteralign(environment=environment | asked)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("iteralign pla", {"plan"}),
        ("iteralign export RUN --format ", {"sft", "dpo"}),
        ("iteralign constitution export RUN --format s", {"system-prompt"}),
        ("iteralign evaluate M --tasks hh", {"hhh"}),
        ("iteralign evaluate M --tasks hhh,truthfulqa_m", {"hhh,truthfulqa_mc"}),
        ("iteralign evaluate M --judge r", {"rules"}),
        ("iteralign data prepare h", {"hh-rlhf", "harmfulqa"}),
        ("iteralign data prepare hh-rlhf --turns l", {"last"}),
        ("iteralign run c.yaml --set model.t", {"model.trust_remote_code=true", "model.trust_remote_code=false"}),
        ("iteralign run c.yaml --set model.pa", {"model.path=", "model.path=..."}),
        ("iteralign plan c.yaml --set rounds.", {"rounds.prompts=", "rounds.min_failures=", "rounds.limit="}),
        ("iteralign resume RUN --set nothing", set()),
    ],
)
def test_bash_is_offered(line: str, expected: set[str], environment: dict[str, str]) -> None:
    assert set(offered("bash", line, environment)) == expected


def test_zsh_and_fish_are_told_what_a_setting_does(environment: dict[str, str]) -> None:
    line = "iteralign run c.yaml --set training.method=f"
    assert "training.method=full" in " ".join(offered("fish", line, environment))
    assert "all weights" in " ".join(offered("fish", line, environment))
    assert '"training.method=full":"lora trains' in " ".join(offered("zsh", line, environment))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, environment: dict[str, str]) -> None:
    asked = environment | {"_ITERALIGN_COMPLETE": f"source_{shell}"}
    done = subprocess.run(["iteralign"], env=asked, capture_output=True, text=True, check=True)
    assert f"complete_{shell}" in done.stdout and "iteralign" in done.stdout


@needs_bash
def test_a_real_bash_completes_at_its_prompt(environment: dict[str, str], tmp_path: Path) -> None:
    """TAB is pressed in an interactive bash after `iteralign --install-completion`; readline does the rest."""
    (tmp_path / "questions.jsonl").write_text("")
    install = ["bash", "-c", "iteralign --install-completion; true"]
    subprocess.run(install, env=environment, capture_output=True, check=True, timeout=60)
    typed = {
        "echo iteralign; iteralign export RUN --format d\t": "--format dpo",
        "iteralign run c.yaml --set training.meth\tf\t": "--set training.method=full",
        "iteralign run c.yaml --set oracle.judge.base_url=http://h:1/v1 --set training.meth\tl\t": "training.method=lora",
        "iteralign init x.yaml --prompts=que\t": "--prompts=questions.jsonl",
        "iteralign run c.yaml --set data.prompts=que\t": "data.prompts=questions.jsonl",
    }
    for keys, expected in typed.items():
        assert expected in screen_of_bash(keys, expected, environment, tmp_path), keys


def screen_of_bash(keys: str, expected: str, environment: dict[str, str], directory: Path) -> str:
    """What an interactive bash shows after these keys, until it shows what is expected or has had half a minute."""
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"COLUMNS": "300"},
        cwd=directory,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, keys.encode())
    shown, deadline = "", time.monotonic() + 30
    while expected not in shown and time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            shown += os.read(ours, 4096).decode(errors="replace").replace("\x07", "")
    os.close(ours)  # which ends the shell
    shell.wait(timeout=30)
    return shown


def test_bash_splits_words_at_equals_signs_and_they_are_joined_again() -> None:
    words = ["iteralign", "run", "c", "--set", "a.url", "=", "http", ":", "//h", ":", "1/v1", "--set", "seed", "=", "1"]
    environment = {"_ITERALIGN_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": "14"}
    join_words(environment)
    assert environment["COMP_WORDS"].split("\n") == [
        *("iteralign", "run", "c", "--set", "a.url=http://h:1/v1", "--set", "1"),
    ]
    assert environment["COMP_CWORD"] == "6" and environment["_ITERALIGN_COMPLETE_HEAD"] == "seed="


def test_a_lone_setting_without_choices_shows_its_default() -> None:
    assert [text for text, _ in complete_setting("rounds.prom")] == ["rounds.prompts=", "rounds.prompts=20"]


def test_completing_loads_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "import sys; from iteralign.cli.completion import complete_setting, complete_tasks, complete_source\n"
        "assert complete_setting('m') and complete_tasks('') and complete_source('')\n"
        "print([name for name in ('torch', 'transformers', 'openai', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
