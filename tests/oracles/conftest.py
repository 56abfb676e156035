"""A scripted chat endpoint on loopback: it answers well, or fails in any way that a test asks for."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from iteralign.oracles.client import ChatClient
from iteralign.oracles.llm import LLMOracle
from iteralign.records import RedTeamPrompt, Response
from iteralign.settings.oracle import EndpointSettings, OracleSettings

KEY = "sk-marked-5f2c9e77d1"
PROBED = '{"iteralign_probe": "ready"}'
"""What a server that enforces JSON schemas replies at the first contact."""

PATHS = tuple(f"/v1/{name}" for name in ("chat/completions", "completions", "load_lora_adapter", "unload_lora_adapter"))

Play = Callable[["Handler", dict[str, Any]], None]


def chat_body(text: str | None, finish: str = "stop", **message: Any) -> bytes:
    """A chat completion as OpenAI's servers send it."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def judgement(acceptable: bool = True, **changes: Any) -> str:
    """A well-formed reply of a judge."""
    fields = {
        "reason": "Because.",
        "harmless": acceptable,
        "honest": True,
        "helpful": True,
        "category": "none" if acceptable else "Violence",
        "verdict": "acceptable" if acceptable else "unacceptable",
    }
    return json.dumps(fields | changes)


class Handler(BaseHTTPRequestHandler):
    """Plays what the server's script says for each request."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            (self.server.probes if is_probe(body) else self.server.requests).append(body)
            self.server.keys.append(self.headers.get("Authorization", ""))
            scripted = self.server.script and not is_probe(body)
            play = self.server.script.pop(0) if scripted else self.server.usual
        if not self.path.endswith(PATHS):
            play = status(404, "no such path")
        try:
            play(self, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def send(self, body: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """`script`: what is played, one request each, before `usual` is played for all others.

    `probes` are the requests of the first contact, which take nothing from the script; `text` obeys their schema.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.script: list[Play] = []
        self.usual: Play = text(judgement())
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def is_probe(body: dict[str, Any]) -> bool:
    """Whether it is a request of the first contact."""
    return "Say in JSON that you are ready." in str(body.get("messages"))


def text(content: str | None, finish: str = "stop", **message: Any) -> Play:
    def play(handler: Handler, body: dict[str, Any]) -> None:
        obeyed = is_probe(body) and body.get("response_format", {}).get("type") == "json_schema"
        handler.send(chat_body(PROBED) if obeyed else chat_body(content, finish, **message))

    return play


def met(play: Play) -> Play:
    """Answers the first contact well, and then plays."""
    return lambda handler, body: (text("ready") if is_probe(body) else play)(handler, body)


def raw(body: bytes) -> Play:
    return lambda handler, request: handler.send(body)


def status(code: int, message: str = "no", **headers: str) -> Play:
    return lambda handler, body: handler.send(json.dumps({"error": {"message": message}}).encode(), code, **headers)


def reset(handler: Handler, body: dict[str, Any]) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    raise ConnectionResetError


def hang(handler: Handler, body: dict[str, Any]) -> None:
    time.sleep(30)


def half(handler: Handler, body: dict[str, Any]) -> None:
    """Announces more than it sends."""
    whole = chat_body("never whole")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(whole)))
    handler.end_headers()
    handler.wfile.write(whole[: len(whole) // 2])
    handler.close_connection = True


def drip(handler: Handler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def drip_headers(handler: Handler, body: dict[str, Any]) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(600):
        handler.wfile.write(b"X-%d: 1\r\n" % number)
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.shutdown()
    one.server_close()


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marked key, an own working directory and cache, no proxies."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def as_endpoint(given: dict[str, Any]) -> tuple[EndpointSettings, dict[str, Any]]:
    """The settings of a client among what a test gives, and the rest."""
    own = {name: value for name, value in given.items() if name in EndpointSettings.model_fields}
    return EndpointSettings.model_validate(own), {name: value for name, value in given.items() if name not in own}


def llm(
    judge: ChatClient, proposer: ChatClient | None = None, panel: Sequence[ChatClient] = (), **settings: Any
) -> LLMOracle:
    """An oracle with these of its settings, unchecked, and else their defaults."""
    return LLMOracle(OracleSettings(kind="rules").model_copy(update=settings), judge, proposer, panel)


@pytest.fixture
def make_client(server: Server) -> Callable[..., ChatClient]:
    """A client of the scripted server with short waits."""

    def make(**settings: Any) -> ChatClient:
        known = {"model": "tiny", "base_url": server.url, "api_key_env": "OPENAI_API_KEY"}
        short = {"backoff": 0.01, "timeout": 0.6, "connect_timeout": 0.5, "retry_seconds": 8.0}
        endpoint, other = as_endpoint(known | short | settings)
        return ChatClient(endpoint, **other)

    return make


def response(question: str, answer: str, benign: bool = False) -> Response:
    prompt = RedTeamPrompt(id=f"id of {question[:20]}", question=question, benign=benign)
    return Response(prompt=prompt, input=question, text=answer, finish="stop", prompt_tokens=1, tokens=1)
