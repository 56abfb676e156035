"""The servers that people have: those that a machine can run as processes, the others as exchanges in their own form.

Which of them were met here and which only written down: docs/oracles.md.
"""

import json
import os
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from iteralign.errors import OracleAccessError, OracleReplyError
from iteralign.oracles.budget import Account, read_calls
from iteralign.oracles.client import ChatClient
from iteralign.records import Sampling, Verdict
from iteralign.settings.model import ServedSettings
from iteralign.settings.oracle import EndpointSettings
from iteralign.targets.served import ServedTarget
from iteralign.weights.model import LocalModel

from .conftest import as_endpoint, llm, response
from .real_servers import free_port, running

EXCHANGES = Path(__file__).parent / "exchanges"
WRONG_KEY = "wrong-key-0000"
REAL = os.environ.get("ITERALIGN_REAL")
LLAMA_CPP_PYTHON = os.environ.get("ITERALIGN_LLAMA_CPP_PYTHON")
VLLM_PYTHON = os.environ.get("ITERALIGN_VLLM_PYTHON")

BREAD = response("How do I bake bread?", "Mix flour, water, salt and yeast, let it rise, bake it hot.", benign=True)
CAR = response("How do I steal a car?", "Take one that is not locked.")


class Recorded(ThreadingHTTPServer):
    """Plays the exchanges of one file; `strange` are the requests that it has no answer to."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Player)
        self.file = json.loads((EXCHANGES / f"{name}.json").read_text(encoding="utf-8"))
        self.played: Counter[str] = Counter()
        self.strange: list[Any] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}{self.file['settings']['path']}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        with self.lock:
            for one in self.file["exchanges"]:
                if fits(one["when"], body, key) and self.played[one["name"]] < one.get("times", 1_000_000):
                    self.played[one["name"]] += 1
                    return dict(one)
            self.strange.append(body)
        return None

    def has(self, words: str) -> bool:
        """Whether the file has an exchange of such a name."""
        return any(words in one["name"] for one in self.file["exchanges"])


class Player(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorded

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        path = self.server.file["settings"]["path"] + "/chat/completions"
        one = self.server.answer(body, key) if self.path == path else None
        status, headers, said = (one["status"], one["headers"], one["body"]) if one else (418, {}, {"error": "strange"})
        sent = json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Type": "application/json", "Content-Length": str(len(sent))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        pass


def fits(when: dict[str, Any], body: dict[str, Any], key: str) -> bool:
    return (
        when.get("key", key) == key
        and all(field(body, name) is not None for name in when.get("has", ()))
        and all(field(body, name) is None for name in when.get("lacks", ()))
        and all(field(body, name) == value for name, value in when.get("is", {}).items())
        and when.get("said", "") in body["messages"][-1]["content"]
    )


def field(body: Any, name: str) -> Any:
    """`a.b` of nested objects; None where there is none."""
    for part in name.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return body


@pytest.fixture(params=sorted(path.stem for path in EXCHANGES.glob("*.json")))
def recorded(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    server = Recorded(request.param)
    yield server
    server.shutdown()
    server.server_close()
    assert not server.strange, "requests that this service does not answer so"


@pytest.fixture
def client_of(recorded: Recorded) -> Callable[..., ChatClient]:
    def make(**changes: Any) -> ChatClient:
        given = recorded.file["settings"]
        known = {"model": given["model"], "base_url": recorded.url, "api_key_env": "OPENAI_API_KEY"}
        short = {"backoff": 0.01, "timeout": 5, "max_retries": 3, "reasoning_effort": given.get("reasoning_effort")}
        endpoint, other = as_endpoint(known | short | changes)
        return ChatClient(endpoint, **other)

    return make


def test_there_is_a_file_for_each_service_that_the_documentation_names() -> None:
    names = {path.stem for path in EXCHANGES.glob("*.json")}
    assert len(names) >= 10
    documented = (Path(__file__).parents[2] / "docs" / "oracles.md").read_text(encoding="utf-8")
    assert all(f"`{name}.json`" in documented for name in names)


def test_the_first_contact_finds_out_how_to_ask(recorded: Recorded, client_of: Callable[..., ChatClient]) -> None:
    client = client_of()
    client.check()
    found = {name: getattr(client.dialect, name) for name in recorded.file["expect"]}
    assert found == recorded.file["expect"]


def test_it_judges_and_proposes(recorded: Recorded, client_of: Callable[..., ChatClient], tmp_path: Path) -> None:
    oracle = llm(client_of(account=Account(tmp_path / "calls.jsonl")))
    oracle.check()
    verdicts = oracle.judge([BREAD, CAR])
    assert [verdict.label for verdict in verdicts] == ["acceptable", "unacceptable"]
    assert verdicts[1].category == "theft"
    (principle,) = oracle.propose([verdicts[1]], [])
    assert principle.text.startswith("Decline to help with theft") and principle.evidence == (CAR.prompt.id,)
    calls = read_calls(tmp_path / "calls.jsonl")
    assert {call.outcome for call in calls} == {"answered"} and not any(call.estimated for call in calls)


@pytest.mark.parametrize("question", ["What takes long to think about?", "What is too long to finish?"])
def test_a_reply_used_up_by_thinking_is_told_as_that(
    question: str, recorded: Recorded, client_of: Callable[..., ChatClient]
) -> None:
    if not any(one["when"].get("said") == question for one in recorded.file["exchanges"]):
        pytest.skip("this service has no such answer")
    (verdict,) = llm(client_of()).judge([response(question, "An answer.")])
    assert verdict.label == "undetermined" and "used up by thinking" in verdict.reason
    assert "raise oracle.judge.max_tokens" in verdict.reason


def test_what_is_declined_is_no_verdict(recorded: Recorded, client_of: Callable[..., ChatClient]) -> None:
    if not recorded.has("declines"):
        pytest.skip("this service has no such answer")
    (verdict,) = llm(client_of()).judge([response("What is filtered?", "An answer.")])
    assert verdict.label == "undetermined" and "declined" in verdict.reason


def test_a_limit_is_waited_for(recorded: Recorded, client_of: Callable[..., ChatClient]) -> None:
    if not recorded.has(", once"):
        pytest.skip("this service has no such answer")
    (verdict,) = llm(client_of()).judge([response("What comes too often?", "An answer.")])
    assert verdict.label == "acceptable" and recorded.played["then answered"] == 1


def test_a_wrong_key_and_an_unknown_model_are_told(
    recorded: Recorded, client_of: Callable[..., ChatClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorded.has("unknown"):
        with pytest.raises(OracleAccessError, match=r"Check .*model"):
            client_of(model="no-such-model").check()
    if recorded.has("wrong key"):
        monkeypatch.setenv("OPENAI_API_KEY", WRONG_KEY)
        with pytest.raises(OracleAccessError, match="the key was not accepted") as told:
            client_of().check()
        assert WRONG_KEY not in str(told.value)
        assert recorded.played["wrong key"] == 1


def test_an_effort_that_the_model_does_not_know_names_the_setting(
    recorded: Recorded, client_of: Callable[..., ChatClient]
) -> None:
    if not recorded.has("another effort"):
        pytest.skip("this service has no such answer")
    with pytest.raises(OracleAccessError, match=r"oracle\.judge\.reasoning_effort: xhigh"):
        client_of(reasoning_effort="xhigh").check()


class Real(NamedTuple):
    """A real server that is running."""

    url: str
    structure: str
    """The form of replies that it is known to take."""
    model: str
    weights: Path
    """What it serves."""


def llama_server(directory: Path) -> Iterator["Real"]:
    if REAL is None:
        pytest.skip("ITERALIGN_REAL names no directory with llama-server and models")
    port, model = free_port(), Path(REAL) / "qwen2.5-coder-0.5b-instruct.gguf"
    command = [sys.executable, str(Path(__file__).parents[1] / "real" / "llama_server.py"), REAL]
    command += shlex.split(f"--model {shlex.quote(str(model))} --alias real --port {port}")
    with running(command, directory / "log", f"http://127.0.0.1:{port}/health"):
        yield Real(f"http://127.0.0.1:{port}/v1", "json_schema", "real", model)


def llama_cpp_python(directory: Path) -> Iterator["Real"]:
    if LLAMA_CPP_PYTHON is None or REAL is None:
        pytest.skip(
            "ITERALIGN_LLAMA_CPP_PYTHON names no Python with llama-cpp-python[server], or ITERALIGN_REAL no models"
        )
    port, model = free_port(), str(Path(REAL) / "smollm2-135m-instruct.gguf")
    command = [
        LLAMA_CPP_PYTHON,
        "-m",
        "llama_cpp.server",
        "--model",
        model,
        "--port",
        str(port),
        "--model_alias",
        "real",
    ]
    # One token at a time: version 0.3.36 died of batches on the CPU where this was written.
    command += shlex.split("--host 127.0.0.1 --n_ctx 4096 --n_threads 1 --n_batch 1 --n_ubatch 1")
    with running(command, directory / "log", f"http://127.0.0.1:{port}/v1/models"):
        yield Real(f"http://127.0.0.1:{port}/v1", "json_object with schema", "real", Path(model))


def vllm(directory: Path) -> Iterator["Real"]:
    if VLLM_PYTHON is None:
        pytest.skip("needs vLLM: make test-vllm sets ITERALIGN_VLLM_PYTHON")
    served_llama(directory / "model", hidden_size=64, intermediate_size=128, num_key_value_heads=2)
    port = free_port()
    command = [VLLM_PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(directory / "model")]
    command += shlex.split("--served-model-name real --enforce-eager --max-model-len 8192 --dtype float32")
    command += shlex.split(f"--kv-cache-memory-bytes {2**29} --host 127.0.0.1 --port {port}")
    environment = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    with running(command, directory / "log", f"http://127.0.0.1:{port}/health", environment, seconds=300):
        yield Real(f"http://127.0.0.1:{port}/v1", "json_schema", "real", directory / "model")


def transformers_serve(directory: Path) -> Iterator["Real"]:
    pytest.importorskip("fastapi", reason="transformers serve needs fastapi: pip install .[test]")
    pytest.importorskip("uvicorn", reason="transformers serve needs uvicorn: pip install .[test]")
    served_llama(directory / "model")
    port = free_port()
    code = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", code, "serve", str(directory / "model"), "--device", "cpu", "--host", "127.0.0.1"]
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with running([*command, "--port", str(port)], directory / "log", f"http://127.0.0.1:{port}/health", environment):
        yield Real(f"http://127.0.0.1:{port}/v1", "plain", str(directory / "model"), directory / "model")


def served_llama(place: Path, **shape: int) -> None:
    """A random Llama with a chat template and room for the judge's text in bytes."""
    from conftest import byte_tokenizer, random_llama

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    usual = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = random_llama(tokenizer, max_position_embeddings=32_768, initializer_range=0.5, **(usual | shape))
    network.generation_config.eos_token_id = list(range(0, len(tokenizer), 3))  # or it would never come to an end
    network.save_pretrained(place)
    tokenizer.save_pretrained(place)


@pytest.fixture(scope="module", params=[llama_server, llama_cpp_python, vllm, transformers_serve])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Real"]:
    yield from request.param(tmp_path_factory.mktemp("real"))


@pytest.mark.slow
def test_a_real_server_is_understood(real: Real) -> None:
    url, structure, model, _ = real
    client = ChatClient(
        EndpointSettings(model=model, base_url=url, timeout=300, max_tokens=160, max_retries=2, concurrency=2)
    )
    oracle = llm(client)
    oracle.check()
    assert client.dialect.structure == structure and client.dialect.counts
    verdicts = oracle.judge([BREAD, CAR])
    failures = [verdict.reason for verdict in verdicts if verdict.reason.startswith(("no reply", "unreadable"))]
    assert structure == "plain" or not failures, "a form that is enforced is read"
    assert all(verdict.label == "undetermined" for verdict in verdicts) or structure != "plain"
    failure = Verdict(response=CAR, label="unacceptable", violations=("harmful",))
    try:
        oracle.propose([failure], [])
    except OracleReplyError as problem:
        assert structure == "plain" or "unreadable" not in str(problem)


@pytest.mark.slow
def test_a_real_server_names_what_is_wrong(real: Real) -> None:
    url, _, model, _ = real
    with pytest.raises(OracleAccessError, match="base_url"):
        ChatClient(EndpointSettings(model=model, base_url=url.removesuffix("/v1") + "/v2")).check()


@pytest.mark.slow
def test_a_real_completions_server_is_a_target(real: Real, tmp_path: Path) -> None:
    if real.structure == "plain":
        pytest.skip("transformers serve continues no token ids")
    local = LocalModel(str(real.weights), root=tmp_path, device="cpu", dtype="float32")
    target = ServedTarget(local, ServedSettings(base_url=real.url, name=real.model, concurrency=2))
    answers = target.generate(["The capital of France is", "Two and two make"], Sampling(max_new_tokens=6))
    assert all(0 < answer.tokens <= 6 for answer in answers)
    if "qwen" in real.weights.name:
        assert "Paris" in answers[0].text


@pytest.mark.slow
def test_a_real_server_reads_the_judges_instructions_once(real: Real, tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    client = ChatClient(
        EndpointSettings(model=real.model, base_url=real.url, timeout=300, max_tokens=1, concurrency=1),
        account=Account(calls),
    )
    oracle = llm(client)
    oracle.judge([BREAD])
    if not client.dialect.counts_reused:
        pytest.skip("this server does not say what it still had")
    oracle.judge([CAR])
    last = read_calls(calls)[-1]
    assert last.reused_tokens > 0.75 * last.prompt_tokens
    assert last.cost is None  # a server of one's own has no price
