"""The campaign of faults in small: one run on fakes and one of the demo's model. `make torture` has 50 faults."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NO_RAY = "needs Ray: pip install 'iteralign[cluster]'"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)
def test_runs_whose_replicas_and_nodes_fail_write_the_files_of_one_process() -> None:
    command = [sys.executable, str(Path(__file__).with_name("campaign.py")), "--faults", "6", "--each", "3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    last = done.stdout.splitlines()[-1]  # what Ray says of nodes that are gone stands before it
    assert last.startswith("6 faults (") and ": 0 files differ, " in last, done.stdout
