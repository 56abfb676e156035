"""The hostile campaign in small. `make torture` plays every kind of reply to every role."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_runs_against_a_hostile_server_end_well() -> None:
    command = [sys.executable, str(Path(__file__).with_name("campaign.py")), "--runs", "4", "--seed", "4"]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs" in done.stdout and "0 bad" in done.stdout
