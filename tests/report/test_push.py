"""Uploads to a scripted hub on loopback, by the command line in a process of its own: what is sent is what was chosen."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from iteralign.rundir.directory import record_again

TOKEN = "hf_" + "a1B2" * 8  # no real one


class Hub:
    """The part of the hub's interface that a commit takes; remembers what it was sent."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, bytes]] = {}
        self.tokens: set[str | None] = set()
        self.refuses = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                hub.tokens.add(self.headers.get("authorization"))
                body = self._body()
                status, answer = hub.answer(self.path, body)
                self._send(status, answer)

            def do_GET(self) -> None:
                self._send(404, {"error": "not there"})

            def _body(self) -> bytes:
                if "chunked" not in (self.headers.get("transfer-encoding") or ""):
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = []
                while size := int(self.rfile.readline().strip(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _send(self, status: int, answer: Any) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if self.refuses:
            return 403, {"error": "You may not write here"}
        if path == "/api/repos/create":
            asked = json.loads(body)
            self.created.append(asked)
            kind = "datasets/" if asked.get("type") == "dataset" else ""
            return 200, {"url": f"{self.address}/{kind}{asked['organization']}/{asked['name']}"}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return 200, {
                "files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            }
        if "/commit/" in path:
            repository = path.removeprefix("/api/").partition("/commit/")[0]
            for line in body.decode().splitlines():
                one = json.loads(line)
                if one["key"] == "file":
                    content = base64.b64decode(one["value"]["content"])
                    self.files.setdefault(repository, {})[one["value"]["path"]] = content
            return 200, {"success": True, "commitUrl": f"{self.address}/{repository}/commit/0", "commitOid": "0" * 40}
        return 200, {}


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def run(finished: Path) -> Path:
    """The finished run with a model beside it, and with files that nobody asked to upload."""
    model = finished / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "notes.private").write_text("not for others")
    record_again(finished, *(f"model/{path.name}" for path in model.iterdir()))
    return finished


def iteralign(hub: Hub, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_TELEMETRY": "1", "COLUMNS": "200"}
    code = "from iteralign.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "push", *arguments],
        env=environment,
        input=answer,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_only_what_was_chosen_is_sent_and_the_repository_is_private(hub: Hub, run: Path) -> None:
    done = iteralign(hub, str(run), "me/aligned", "--model", "--yes")
    assert done.returncode == 0, done.stderr
    assert set(hub.files) == {"models/me/aligned"}
    assert set(hub.files["models/me/aligned"]) == {"README.md", "config.json", "model.safetensors"}
    assert hub.files["models/me/aligned"]["model.safetensors"] == b"weights"
    (created,) = hub.created
    assert created.get("private") is True or created.get("visibility") == "private"
    assert hub.tokens == {f"Bearer {TOKEN}"} and TOKEN not in done.stdout + done.stderr


def test_data_and_report(hub: Hub, run: Path) -> None:
    done = iteralign(hub, str(run), "me/pairs", "--data", "--report", "--public", "--yes")
    assert done.returncode == 0, done.stderr
    files = hub.files["datasets/me/pairs"]
    assert set(files) == {"README.md", "sft.jsonl", "dpo.jsonl", "constitution.yaml", "report.html"}
    assert files["constitution.yaml"] == (run / "constitution.yaml").read_bytes()
    rows = [json.loads(line) for line in files["dpo.jsonl"].decode().splitlines()]
    assert rows and set(rows[0]) == {"prompt", "chosen", "rejected"}
    assert not hub.created[0].get("private")


def test_it_asks_first(hub: Hub, run: Path) -> None:
    done = iteralign(hub, str(run), "me/aligned", "--model", "--report", answer="n\n")
    assert done.returncode == 0 and "Nothing was uploaded" in done.stdout and "model.safetensors" in done.stdout
    assert hub.created == [] and hub.files == {}


def test_nothing_chosen_is_a_usage_error(hub: Hub, run: Path) -> None:
    done = iteralign(hub, str(run), "me/aligned", "--yes")
    assert done.returncode == 2 and "--model, --data, --report" in done.stderr and hub.created == []


def test_a_refusal_of_the_hub_is_one_message(hub: Hub, run: Path) -> None:
    hub.refuses = True
    done = iteralign(hub, str(run), "me/aligned", "--model", "--yes")
    assert done.returncode == 1 and "hf auth login" in done.stderr and "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_run_without_a_model_says_so(hub: Hub, tmp_path: Path) -> None:
    from .conftest import fake_run

    done = iteralign(hub, str(fake_run(tmp_path / "run")), "me/aligned", "--model", "--yes")
    assert done.returncode == 1 and "holds no model" in done.stderr and hub.created == []


def test_a_hub_that_is_not_to_be_reached_is_one_message(hub: Hub, run: Path) -> None:
    hub.address = "http://127.0.0.1:9"
    done = iteralign(hub, str(run), "me/aligned", "--model", "--yes")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "http://127.0.0.1:9 can't be reached" in done.stderr and "Nothing was sent" in done.stderr
