"""The kill campaign in small: at every fifth commit and at random moments. `make torture` does a hundred kills."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_bytes_and_pay_nothing_twice() -> None:
    command = [sys.executable, str(Path(__file__).with_name("campaign.py")), "--kills", "6", "--stride", "5"]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=290
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(" kills (" in line for line in lines), done.stdout
