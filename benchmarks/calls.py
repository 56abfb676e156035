"""Processor time of one call of an LLM oracle, and what each layer below it takes by itself.

    python benchmarks/calls.py [--calls 400] [--at-once 16]

A server on loopback, in a process of its own, answers everything at once with the same verdict; only this process's time
counts. The layers: iteralign's client (without cache and account), the endpoint below it, which has the openai package send,
that package's HTTP client bare, with and without a thread that holds it to a deadline, and the standard library's
`http.client`, which knows no proxies and no pool.
"""

import argparse
import asyncio
import http.client
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable

from iteralign.endpoints.endpoint import Endpoint
from iteralign.endpoints.pool import run_bounded, with_deadline
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.settings.oracle import EndpointSettings

REPLY = {
    "model": "fake",
    "choices": [{"message": {"role": "assistant", "content": '{"verdict": "acceptable"}'}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 400, "completion_tokens": 8},
}
QUESTION = "You are the judge of this answer. " * 50
KEY = "IA_BENCHMARK_KEY"


async def serve() -> None:
    """Answers every request on each connection; prints its port."""
    body = json.dumps(REPLY).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next(line for line in lines if line.startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def used() -> float:
    """Processor seconds of this process so far."""
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime


def layers(port: int, at_once: int) -> dict[str, Callable[[int], None]]:
    """What makes so many calls, by name."""
    import httpx2

    url = f"http://127.0.0.1:{port}/v1"
    os.environ[KEY] = "a-key-of-this-benchmark"
    settings = EndpointSettings(base_url=url, model="fake", api_key_env=KEY, concurrency=at_once)
    client = ChatClient(settings)
    endpoint = Endpoint(url, os.environ[KEY], connect_timeout=10, timeout=60)
    bare = httpx2.Client(timeout=60, limits=httpx2.Limits(max_connections=None))
    own = threading.local()
    payload = {"model": "fake", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 200}
    headers = {"Authorization": f"Bearer {os.environ[KEY]}", "Content-Type": "application/json"}
    asked = iter(range(10**9))

    def complete(calls: int) -> None:
        requests = [ChatRequest((Message("user", f"{next(asked)} {QUESTION}"),), 200) for _ in range(calls)]
        assert all(reply.error is None for reply in client.complete(requests))

    def with_http_client(_: int) -> None:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection("127.0.0.1", port)
        own.connection.request("POST", "/v1/chat/completions", json.dumps(payload).encode(), headers)
        own.connection.getresponse().read()

    def in_threads(call: Callable[[int], object]) -> Callable[[int], None]:
        def made(calls: int) -> None:
            for _ in run_bounded(call, range(calls), at_once, threading.Event()):
                pass

        return made

    def with_httpx(_: int) -> None:
        bare.post(f"{url}/chat/completions", content=json.dumps(payload).encode(), headers=headers).read()

    return {
        "client": complete,
        "endpoint": in_threads(lambda _: endpoint.post("/chat/completions", payload)),
        "HTTP client, deadline": in_threads(lambda _: with_deadline(lambda: with_httpx(0), 60)),
        "HTTP client": in_threads(with_httpx),
        "http.client": in_threads(with_http_client),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            for at_once in given.at_once:
                for name, make in layers(port, at_once).items():
                    make(2 * at_once)  # connections, imports
                    before = used()
                    make(given.calls)
                    print(f"{at_once:3} at once, {name:21} {(used() - before) / given.calls * 1000:5.2f} ms a call")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
