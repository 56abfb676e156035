"""The server of `iteralign view` at work, on loopback, and a page that asks it."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import uvicorn
from report.conftest import fake_run

from iteralign.errors import ReviewNeeded
from iteralign.view.server import application, listen

TOKEN = "the-token"


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Client:
    """A browser that says what it is told to."""

    port: int
    token: str = TOKEN

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> Reply:
        host = f"127.0.0.1:{self.port}"
        said = {"Host": host} if method == "GET" else {"Host": host, "Origin": f"http://{host}", "X-Token": self.token}
        said |= {} if body is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = None if body is None else json.dumps(body)
            wanted = {**said, **(headers or {})}
            connection.request(method, f"{path}?{urlencode(query, doseq=True)}", sent, wanted)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read().decode())
        finally:
            connection.close()


Start = Callable[..., Client]


@pytest.fixture
def served() -> Iterator[Start]:
    """(directory, host) -> a client of the server of these runs."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(directory: Path, host: str = "127.0.0.1") -> Client:
        listening = listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        config = uvicorn.Config(application(directory, host, port, TOKEN), log_level="warning", access_log=False)
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return Client(port)

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A run that waits for a person."""
    with pytest.raises(ReviewNeeded):
        fake_run(tmp_path / "run", constitution={"review": "required"})
    return tmp_path / "run"
