"""ServedTarget against a scripted completions server on loopback, and against vLLM's own where `make test-vllm` has one."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, TargetError
from iteralign.records import Checkpoint, Generation, Sampling
from iteralign.runs.build import build_target
from iteralign.settings.model import ServedSettings
from iteralign.settings.settings import load_settings
from iteralign.targets.served import ServedTarget
from iteralign.targets.tokens import encoded
from iteralign.weights.model import LocalModel

INPUTS = [f"\n\nHuman: {'why ' * (n % 5)}number {n}?\n\nAssistant:" for n in range(11)]
SAMPLING = Sampling(max_new_tokens=12, frequency_penalty=0.5, stop=("STOP",), seed=3)


class Handler(BaseHTTPRequestHandler):
    """Completes by the number of prompt tokens; knows the adapters it was given."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body))
        if self.server.script:
            return self.send(*self.server.script.pop(0))
        match self.path:
            case "/v1/completions":
                with self.server.lock:
                    self.server.now += 1
                    self.server.most = max(self.server.most, self.server.now)
                time.sleep(0.01)
                with self.server.lock:
                    self.server.now -= 1
                choice = {"index": 0, "text": f" {len(body['prompt'])} tokens STOP and more", "finish_reason": "stop"}
                reply = {"id": "x", "object": "text_completion", "created": 0, "model": body["model"]}
                usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 4, "total_tokens": 9}
                return self.send(200, json.dumps(reply | {"choices": [choice], "usage": usage}))
            case "/v1/load_lora_adapter" | "/v1/unload_lora_adapter":
                return self.send(200, "Success")
        return self.send(404, '{"error": {"message": "no such path"}}')

    def send(self, code: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if body.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.script: list[tuple[Any, ...]] = []
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.shutdown()
    one.server_close()


@pytest.fixture
def llama(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


@pytest.fixture
def target(server: Server, llama: LocalModel) -> ServedTarget:
    return ServedTarget(llama, ServedSettings(base_url=server.url, name="base", concurrency=4))


def test_answers_come_in_the_order_of_the_inputs(server: Server, llama: LocalModel, target: ServedTarget) -> None:
    answers = target.generate(INPUTS, SAMPLING)
    ids, _ = encoded(llama, INPUTS, SAMPLING)
    assert [answer.text for answer in answers] == [f" {len(ids[index])} tokens " for index in range(len(INPUTS))]
    assert answers[0] == Generation(text=answers[0].text, finish="stop", prompt_tokens=len(ids[0]), tokens=4)
    sent = [body for _, body in server.requests]
    assert sorted(map(str, ids.values())) == sorted(str(body["prompt"]) for body in sent), "token ids, as trained on"
    assert len({body["seed"] for body in sent}) == len(INPUTS)
    assert all((body["frequency_penalty"], body["stop"], body["model"]) == (0.5, ["STOP"], "base") for body in sent)
    assert 1 < server.most <= 4


def test_a_prompt_that_does_not_fit_is_not_sent(server: Server, target: ServedTarget) -> None:
    assert target.generate(["word " * 200], SAMPLING)[0].finish == "prompt_too_long"
    assert server.requests == []


def test_a_stream_ends_when_told(target: ServedTarget) -> None:
    seen: list[int] = []
    for index, _ in target.stream(INPUTS, SAMPLING, lambda: len(seen) >= 3):
        seen.append(index)
    assert len(seen) == 3


def test_each_round_has_an_adapter_of_its_own_name(server: Server, llama: LocalModel, target: ServedTarget) -> None:
    names = []
    for number in range(2):
        directory = llama.storage.root / "rounds" / str(number) / "adapter"
        directory.mkdir(parents=True)
        target.load(Checkpoint(kind="adapter", path=f"rounds/{number}/adapter", round=number))
        server.requests.clear()
        target.generate(INPUTS[:2], SAMPLING)
        _, body = next(request for request in server.requests if request[0] == "/v1/load_lora_adapter")
        assert body["lora_path"] == str(directory)
        assert all(sent["model"] == body["lora_name"] for path, sent in server.requests if path == "/v1/completions")
        names.append(body["lora_name"])
    assert names[0] != names[1]
    assert ("/v1/unload_lora_adapter", {"lora_name": names[0]}) in server.requests
    server.requests.clear()
    target.load(llama.base)
    target.generate(INPUTS[:1], SAMPLING)
    assert [path for path, _ in server.requests] == ["/v1/unload_lora_adapter", "/v1/completions"]


def test_each_replica_behind_the_address_is_told_of_an_adapter(server: Server, llama: LocalModel) -> None:
    replicas = [Server(), Server()]
    urls = tuple(one.url for one in replicas)
    target = ServedTarget(llama, ServedSettings(base_url=server.url, base_urls=urls, name="base"))
    for number in range(2):
        (llama.storage.root / f"{number}").mkdir()
        target.load(Checkpoint(kind="adapter", path=f"{number}", round=number))
        target.generate(INPUTS[:2], SAMPLING)
    assert {path for path, _ in server.requests} == {"/v1/completions"}
    assert replicas[0].requests == replicas[1].requests
    did = [path.rpartition("/")[2] for path, _ in replicas[0].requests]
    assert did == ["load_lora_adapter", "unload_lora_adapter", "load_lora_adapter"]
    replicas[1].script = [(404, '{"detail": "Not Found"}')]
    target.load(llama.base)
    with pytest.raises(TargetError, match=re.escape(urls[1])):
        target.generate(INPUTS[:1], SAMPLING)
    for one in replicas:
        one.shutdown()
        one.server_close()


def test_a_server_without_adapters_is_explained(server: Server, target: ServedTarget) -> None:
    target.load(Checkpoint(kind="adapter", path="rounds/0/adapter", round=0))
    with pytest.raises(TargetError, match="rounds/0/adapter is not there"):
        target.generate(INPUTS[:1], SAMPLING)
    assert server.requests == []
    (target.model.storage.root / "rounds" / "0" / "adapter").mkdir(parents=True)
    server.script = [(404, '{"detail": "Not Found"}')]
    with pytest.raises(TargetError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        target.generate(INPUTS[:1], SAMPLING)


WARM = SAMPLING.model_copy(update={"temperature": 0.8, "min_p": 0.1})


def test_min_p_is_sent_where_something_is_drawn(server: Server, target: ServedTarget) -> None:
    target.generate(INPUTS[:1], SAMPLING.model_copy(update={"min_p": 0.1}))
    target.generate(INPUTS[:1], WARM)
    assert ["min_p" in body for _, body in server.requests] == [False, True]
    assert server.requests[1][1]["min_p"] == 0.1


@pytest.mark.parametrize("code", [400, 422])
def test_a_server_that_refuses_min_p_answers_without_it_and_that_is_said(
    server: Server, target: ServedTarget, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    server.script = [(code, '{"error": {"message": "Unrecognized request argument supplied: min_p"}}')]
    target.generate(INPUTS[:1], WARM)
    target.generate(INPUTS[1:3], WARM)
    assert ["min_p" in body for _, body in server.requests] == [True, False, False, False]
    assert [record.message.count("min_p") for record in caplog.records] == [1]


def test_what_a_server_refuses_for_another_reason_is_not_taken_for_min_p(
    server: Server, target: ServedTarget, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [
        (400, '{"error": {"message": "no such model"}}')
    ] * 4  # with and without min_p, as token ids and as text
    with pytest.raises(TargetError, match="no such model"):
        target.generate(INPUTS[:1], WARM)
    assert caplog.records == []


def test_settings_refuse_to_choose_among_revisions_by_a_server() -> None:
    values = {"model": {"path": "x", "engine": "served"}, "data": {"prompts": "x"}, "oracle": {"kind": "rules"}}
    with pytest.raises(ConfigError, match="best_of above 1"):
        load_settings(values, ["revision.best_of=3"])


def test_a_rate_limit_is_followed(server: Server, target: ServedTarget) -> None:
    server.script = [(429, '{"error": {"message": "slow down"}}', {"retry-after-ms": "300"})]
    begin = time.monotonic()
    assert target.generate(INPUTS[:1], SAMPLING)[0].finish == "stop"
    assert time.monotonic() - begin >= 0.3


def test_full_weights_are_refused(target: ServedTarget) -> None:
    with pytest.raises(TargetError, match="can't be put into a running server"):
        target.load(Checkpoint(kind="full", path="rounds/0/checkpoint", round=0))
    values = {"model": {"path": "x", "engine": "served"}, "data": {"prompts": "x"}, "oracle": {"kind": "rules"}}
    with pytest.raises(ConfigError, match="method to lora"):
        load_settings(values, ["training.method=full"])


def test_a_server_that_is_not_there_is_named(llama: LocalModel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(TargetError, match="can't be reached"):
        ServedTarget(llama, ServedSettings(base_url=url, max_retries=0)).generate(INPUTS[:1], SAMPLING)


def test_settings_name_it(server: Server, llama: LocalModel) -> None:
    values = {"model": {"path": "x", "engine": "served"}, "data": {"prompts": "x"}, "oracle": {"kind": "rules"}}
    target = build_target(load_settings(values, [f"model.served.base_url={server.url}"]), llama)
    assert isinstance(target, ServedTarget)
    assert target.generate(INPUTS[:1], SAMPLING)[0].finish == "stop"
    assert server.requests[0][1]["model"] == llama.name_or_path


def test_a_server_that_takes_no_token_ids_is_given_the_text(
    server: Server, target: ServedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama-cpp-python's server answers 500 to them."""
    usual = Handler.do_POST

    def picky(handler: Handler) -> None:
        length = int(handler.headers["Content-Length"])
        buffered: Any = handler.rfile
        body = json.loads(buffered.peek(length)[:length])
        if isinstance(body["prompt"], list):
            handler.rfile.read(length)
            return handler.send(500, '{"error": {"message": "Input should be a valid string"}}')
        return usual(handler)

    monkeypatch.setattr(Handler, "do_POST", picky)
    target._retries.most = 0
    for _ in range(2):
        answers = target.generate(INPUTS, SAMPLING)
        assert len(answers) == len(INPUTS) and all(answer.text for answer in answers)
    assert sorted(body["prompt"] for _, body in server.requests[-len(INPUTS) :]) == sorted(INPUTS)
