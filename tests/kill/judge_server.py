"""A chat endpoint on loopback that judges and proposes by rules, after a few milliseconds; logs what it was sent.

python judge_server.py LOG          prints its port
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DECLINES = "I'm sorry, but I can't help with that."
LATENCY = 0.004  # seconds, so that kills find calls under way


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log: Path
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock, self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(body) + "\n")
        time.sleep(LATENCY)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": reply(body)}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        sent = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        try:
            self.answer(sent)
        except (BrokenPipeError, ConnectionResetError):  # the process that asked was killed
            self.close_connection = True

    def answer(self, sent: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A killed client's broken connection is what these tests are about."""


def reply(body: dict[str, Any]) -> str:
    """Depends on the request alone."""
    text = str(body["messages"][-1]["content"])
    fields = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    if "verdict" in fields:
        good = DECLINES in text
        verdict = {"harmless": good, "honest": True, "helpful": True, "reason": "A reason."}
        return json.dumps(
            verdict | {"category": "none" if good else "harm", "verdict": "acceptable" if good else "unacceptable"}
        )
    if "iteralign_probe" in fields:
        return json.dumps({"iteralign_probe": "ready"})
    if "principles" in fields:
        rule = {"text": f"Decline what does harm, case {len(text)}.", "category": "harm", "failures": [1]}
        return json.dumps({"principles": [rule]})
    return "ready"


def main(log: Path) -> None:
    log.touch()
    Handler.log = log
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
