"""The command line as a user meets it: processes, exit codes, one message for an expected error."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import iteralign

from iteralign import __version__

FAST = ["--set", "data.limit=12", "--set", "rounds.prompts=4", "--set", "data.benign_limit=10", "--set", "threads=1"]
FAST += ["--set", "training.min_benign=2", "--set", "training.epochs=1", "--set", "sampling.max_new_tokens=8"]


FRESH = [sys.executable, "-c", "from iteralign.cli import main; main()"]
"""In an interpreter of its own, which imports everything anew."""


def config(tmp_path: Path, **data: object) -> Path:
    values = {"model": {"path": "demo"}, "data": {"prompts": "demo", **data}, "oracle": {"kind": "rules"}}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished demo run, and all that it printed."""
    place = tmp_path_factory.mktemp("demo")
    command = [*FRESH, "demo", "--run-dir", "run", *FAST]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return place / "run", done.stdout


def test_the_demo_prints_rounds_and_rates_with_intervals(finished: tuple[Path, str]) -> None:
    _, printed = finished
    assert "base model: held-out unacceptable" in printed and "Rounds" in printed
    assert "before" in printed and "after" in printed and "[" in printed
    assert "Traceback" not in printed


def test_nothing_but_our_lines_is_printed(finished: tuple[Path, str]) -> None:
    assert "Writing model shards" not in finished[1] and "Warning" not in finished[1]


def test_status_show_and_export(finished: tuple[Path, str], tmp_path: Path) -> None:
    run = str(finished[0])
    told = iteralign("status", run, cwd=tmp_path).stdout
    assert "finished, 2 of 2 rounds done" in told and re.search("^ *base .*%", told, re.MULTILINE)
    assert "r0000-01" in iteralign("constitution", "show", run, cwd=tmp_path).stdout
    assert iteralign("constitution", "export", run, cwd=tmp_path).stdout.startswith("# Constitution")
    assert iteralign("export", run, "--format", "dpo", cwd=tmp_path).returncode == 0
    assert iteralign("export", run, "--format", "sft", "-o", "pairs.jsonl", cwd=tmp_path).returncode == 0
    preference = [json.loads(line) for line in (tmp_path / "dpo.jsonl").read_text().splitlines()]
    assert preference and set(preference[0]) == {"prompt", "chosen", "rejected"}
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) > len(preference) and set(pairs[0]) == {"prompt", "completion"}


def test_resume_of_a_finished_run_reads_it_back(finished: tuple[Path, str], tmp_path: Path) -> None:
    done = iteralign("resume", str(finished[0]), cwd=tmp_path)
    assert done.returncode == 0 and "Rounds" in done.stdout


def test_init_plan_and_run(tmp_path: Path) -> None:
    assert iteralign("init", "my.yaml", cwd=tmp_path).returncode == 0
    again = iteralign("init", "my.yaml", cwd=tmp_path)
    assert again.returncode == 2 and "exists already" in again.stderr
    planned = iteralign("plan", str(config(tmp_path, limit=40)), cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    for line in ("prompts", "rounds", "oracle calls", "memory", "disk", "parameters"):
        assert line in planned.stdout
    assert not (tmp_path / "runs").exists(), "a plan starts nothing"
    done = iteralign("run", str(config(tmp_path)), "--run-dir", "r", *FAST, "--set", "rounds.limit=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "none.yaml"], 2, "iteralign init"),
        (["run", "config.yaml", "--set", "trainig.epochs=2"], 2, "did you mean training"),
        (["run", "config.yaml", "--set", "model.path=./nowhere"], 1, "nowhere"),
        (["run", "config.yaml", "--set", "data.prompts=missing.jsonl"], 2, "missing.jsonl"),
        (["resume", "."], 1, "holds no run"),
        (["status", "."], 1, "no run directory"),
        (["export", ".", "--format", "sft"], 1, "no run directory"),
        (["constitution", "show", "."], 1, "no run directory"),
        (["data", "prepare", "missing.csv"], 2, "missing.csv"),
        (["data", "prepare", "prompts.csv", "--turns", "middle"], 2, "'first', 'last'"),
        (["nonsense"], 2, "nonsense"),
        (["demo", "--prompts", "missing.json"], 2, "missing.json"),
    ],
)
def test_an_expected_error_is_one_message(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    config(tmp_path)
    done = iteralign(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_data_prepare_holds_out_and_counts(tmp_path: Path) -> None:
    rows = [f"How do I make dish number {n}?" for n in range(50)] + ["How do I make dish number 3?"]
    (tmp_path / "raw.txt").write_text("\n".join(rows))
    done = iteralign("data", "prepare", "raw.txt", "-o", "p.jsonl", "--held-out", "0.3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1  doubles removed" in done.stdout
    sides = [(tmp_path / name).read_text().splitlines() for name in ("p.jsonl", "p-held-out.jsonl")]
    assert sum(map(len, sides)) == 50 and all(sides)


def test_interrupting_says_how_to_go_on_and_resume_does(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [*FRESH, "demo", "--run-dir", "run", *FAST]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "rounds" / "0000" / "2_verdicts.jsonl").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "iteralign resume" in errors and "Traceback" not in errors
    told = json.loads(iteralign("status", "run", "--json", cwd=tmp_path).stdout)
    assert (told["state"], told["reason"]) == ("stopped", "Interrupted")
    done = iteralign("resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finished" in iteralign("status", "run", cwd=tmp_path).stdout


def test_the_version_is_told_without_a_command(tmp_path: Path) -> None:
    done = iteralign("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"iteralign {__version__}\n")


def test_the_package_run_as_a_module_is_the_command(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "iteralign"]
    done = subprocess.run([*run, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"iteralign {__version__}\n")
    wrong = subprocess.run([*run, "status", "nowhere"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 1 and "nowhere" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["export", ".", "--format", "csv"], "'sft', 'dpo'"),
        (["constitution", "export", ".", "--format", "csv"], "'md', 'yaml', 'json', 'system-prompt', 'policy'"),
        (["evaluate", "demo", "--form", "cot"], "'plain', 'chat'"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_choices(arguments: list[str], choices: str, tmp_path: Path) -> None:
    done = iteralign(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and choices in done.stderr


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, contextlib, io\nsys.argv = ['iteralign', '--help']\nfrom iteralign.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print([name for name in ('torch', 'transformers', 'openai', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"
