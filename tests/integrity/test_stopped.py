"""The campaign on killed runs in small. `make torture` makes 500 changes."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_change_of_a_killed_run_is_refused_or_without_effect() -> None:
    command = [
        sys.executable,
        str(Path(__file__).with_name("stopped.py")),
        "--changes",
        "36",
        "--seed",
        "5",
        "--stride",
        "6",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "36 changes" in done.stdout and "refused" in done.stdout and "as if it had not been" in done.stdout
