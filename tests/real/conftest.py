"""Real models and a real server, fetched by `make test-real`. Without them these tests are skipped."""

import os
import platform
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from iteralign.cli import main; main()"]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "TERM": "dumb"}


@pytest.fixture(scope="session")
def real() -> Path:
    """The directory with what `tests/real/fetch.py` brought."""
    named = os.environ.get("ITERALIGN_REAL")
    if not named:
        pytest.skip("real models are used by `make test-real` (ITERALIGN_REAL names where they are)")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def smollm2(real: Path) -> Path:
    """SmolLM2-135M-Instruct as GGUF."""
    return real / "smollm2-135m-instruct.gguf"


@pytest.fixture(scope="module")
def judge_url(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's server with Qwen2.5-Coder-0.5B-Instruct, known there as `judge`."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the packaged llama-server is for x86-64")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = real / "qwen2.5-coder-0.5b-instruct.gguf"
    command = [sys.executable, str(Path(__file__).with_name("llama_server.py")), str(real)]
    how = ["--model", str(model), "--alias", "judge", "--port", str(port), "--threads", "2"]
    log = tmp_path_factory.mktemp("llama-server") / "log.txt"
    with log.open("wb") as output:
        server = subprocess.Popen([*command, *how], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def iteralign(*arguments: object, cwd: Path, code: int | Sequence[int] = 0) -> str:
    """What a command prints, after it has ended with one of these exit codes."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=500
    )
    printed = done.stdout + done.stderr
    assert done.returncode in ([code] if isinstance(code, int) else code), printed
    assert "Traceback" not in printed
    return printed


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
