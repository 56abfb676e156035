"""Names that no file can have and places that can't be read: one message, whatever the command."""

import os
import sys
from pathlib import Path

import pytest

from iteralign.cli import main

LONG = "x" * 300
COMMANDS = {
    "status": ["status", "NAME"],
    "report": ["report", "NAME"],
    "verify": ["verify", "NAME"],
    "trace": ["trace", "NAME", "0:1"],
    "export": ["export", "NAME"],
    "compare": ["compare", "NAME", "NAME"],
    "card": ["card", "NAME"],
    "resume": ["resume", "NAME"],
    "constitution show": ["constitution", "show", "NAME"],
    "constitution export": ["constitution", "export", "NAME"],
    "plan": ["plan", "NAME"],
    "run": ["run", "NAME"],
    "init": ["init", "NAME/config.yaml"],
    "doctor": ["doctor", "NAME"],
    "prompts": ["data", "prepare", "NAME", "-o", "made.jsonl"],
    "output": ["data", "prepare", "demo", "-o", "NAME/made.jsonl"],
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    os.mkfifo("pipe")


def said(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["iteralign", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "name", [LONG, "y/" * 3000 + "z", "new\nline", "\x1b[31mred", "\udcff", "loop", "file/x", "pipe"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_no_use_is_one_message(
    name: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command in ("init", "output") and name in ("new\nline", "\x1b[31mred", "\udcff"):
        pytest.skip("a directory can be called so")
    message = said([word.replace("NAME", name) for word in COMMANDS[command]], capsys, monkeypatch)
    assert message.count("error:") == 1 and "Traceback" not in message and "\x1b" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_without_permission_is_one_message(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shut").mkdir(mode=0o000)
    message = said([word.replace("NAME", "shut/run") for word in COMMANDS[command]], capsys, monkeypatch)
    assert message.count("error:") == 1 and "shut" in message
