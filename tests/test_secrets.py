"""A marked key must turn up nowhere: the real command line, against an endpoint that echoes it wherever it can."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import iteralign as run_to_its_end
from oracles import conftest as play

from iteralign.errors import ConfigError
from iteralign.settings.settings import load_settings

MARK = "marked-5f2c9e77d1"
KEY = f"sk-{MARK}-b64"
ECHO = f"the key is {KEY}, Bearer {KEY}"


class Echo:
    """Answers sensibly with the key in every text and header; every fourth call fails with the key in its error."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, handler: play.Handler, body: dict[str, Any]) -> None:
        with handler.server.lock:
            self.calls += 1
            number = self.calls
        if number % 4 == 3:
            error = json.dumps({"error": {"message": ECHO, "code": KEY, "type": KEY}}).encode()
            code = (400, 500, 429)[number // 4 % 3]
            handler.send(error, code, Retry_After="0", X_Key=KEY, Location=f"http://127.0.0.1/{KEY}")
            return
        wanted = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required", [])
        text = play.judgement(number % 2 == 0, reason=ECHO, category=KEY) if wanted else ECHO
        if play.is_probe(body):
            text = play.PROBED
        if wanted == ["principles"]:
            text = json.dumps({"principles": [{"text": f"Never say {KEY}.", "category": KEY, "failures": [1]}]})
        finish = KEY if number % 8 == 6 else "stop"
        handler.send(play.chat_body(text, finish, refusal=None, name=KEY), 200, X_Key=KEY, Set_Cookie=f"k={KEY}")


@pytest.fixture
def server() -> Iterator[play.Server]:
    one = play.Server()
    yield one
    one.shutdown()
    one.server_close()


@pytest.fixture
def place(tmp_path: Path, server: play.Server) -> Path:
    """A directory with settings for the demo's model and the echoing endpoint."""
    endpoint = {"model": "tiny", "base_url": server.url, "api_key_env": "OPENAI_API_KEY"}
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": "demo", "limit": 6, "held_out": 0.34, "benign_limit": 4},
        "oracle": {"judge": endpoint | {"timeout": 20, "concurrency": 4}},
        "rounds": {"prompts": 4},
        "sampling": {"max_new_tokens": 8},
        "training": {"epochs": 1, "min_benign": 1},
        "revision": {"tries": 1},
        "threads": 1,
    }
    (tmp_path / "config.yaml").write_text(json.dumps(values))
    server.usual = Echo()
    return tmp_path


def surroundings(place: Path, key: str | None) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(place / "cache")}
    environment.pop("OPENAI_API_KEY", None)
    if key is not None:
        environment["OPENAI_API_KEY"] = key
    return environment


def iteralign(place: Path, *arguments: str, key: str | None) -> tuple[int, str]:
    """Exit code and everything printed."""
    done = run_to_its_end(*arguments, cwd=place, environment=surroundings(place, key))
    return done.returncode, done.stdout + done.stderr


def iteralign_seen_by_all(place: Path, *arguments: str, key: str | None) -> tuple[int, str]:
    """In an interpreter of its own: exit code and everything printed, with the process list as it was meanwhile."""
    command = [sys.executable, "-m", "iteralign", *arguments]
    process = subprocess.Popen(
        command,
        cwd=place,
        env=surroundings(place, key),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    listed = ""
    while True:
        try:
            printed, _ = process.communicate(timeout=0.5)
            return process.returncode, printed + listed
        except subprocess.TimeoutExpired:
            listed += subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout


def everything_written(place: Path) -> bytes:
    files = [path for path in place.rglob("*") if path.is_file() and path.name != ".env"]
    assert files
    return b"\n".join([path.read_bytes() for path in files] + [str(path).encode() for path in files])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_key_that_is_echoed_everywhere_is_found_nowhere(where: str, place: Path, server: play.Server) -> None:
    key = KEY if where == "environment" else None
    if where == "dotenv":
        (place / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    code, printed = iteralign_seen_by_all(place, "run", "config.yaml", "--run-dir", "run", key=key)
    assert code in (0, 5), printed  # 5: nothing was trained
    assert "config.yaml" in printed, "the process list was looked at"
    assert set(server.keys) == {f"Bearer {KEY}"}
    commands: list[tuple[str, ...]] = [
        ("doctor", "config.yaml"),
        ("plan", "config.yaml"),
        ("status", "run"),
        ("resume", "run"),
        ("constitution", "show", "run"),
        ("constitution", "export", "run"),
        ("export", "run", "--format", "dpo"),
        ("cache",),
    ]
    for arguments in commands if where == "environment" else commands[:1]:
        printed += iteralign(place, *arguments, key=key)[1]
    server.usual = play.status(401, ECHO)
    code, refused = iteralign(place, "run", "config.yaml", "--run-dir", "refused", key=key)
    assert code == 1 and "[key]" in refused
    written = everything_written(place)
    assert b"[key]" in written, "the echo itself arrived"
    assert MARK not in printed + refused
    assert MARK.encode() not in written


@pytest.mark.parametrize(
    "oracle",
    [
        {"judge": {"model": "tiny", "api_key": KEY}},
        {"judge": {"model": "tiny", "api_key_env": KEY}},
        {"judge": {"model": "tiny", "base_url": f"http://me:{KEY}@127.0.0.1/v1"}},
        {"judge": {"model": "tiny", "base_url": f"http://127.0.0.1/v1?key={KEY}"}},
        {"judge": f"tiny {KEY}"},
    ],
)
def test_a_key_in_the_settings_is_refused_and_not_repeated(oracle: dict[str, Any]) -> None:
    values = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": oracle}
    _refused(values)


@pytest.mark.parametrize("served", [{"api_key_env": KEY}, {"base_url": f"http://me:{KEY}@127.0.0.1/v1"}])
def test_a_key_in_the_served_engines_settings_is_refused_and_not_repeated(served: dict[str, Any]) -> None:
    _refused({"model": {"path": "demo", "served": served}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}})


def _refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(values)
    assert MARK not in str(caught.value)
