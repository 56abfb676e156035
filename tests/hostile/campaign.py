"""A hostile server plays judge, proposer, guard and target in whole small runs by the command line.

python tests/hostile/campaign.py [--runs N] [--seed S]     exit code 1 where anything went wrong

Each run has its own process with bounded memory. It must end by itself, finished or resumable, within a time; no traceback, the
key nowhere in what it wrote and printed, its caps held.
"""

import argparse
import base64
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracles import conftest as play

KEY = "sk-hostile-mark-91b7c4"
MEMORY = 6 * 1024**3  # of address space; torch itself maps about 4 GiB
SECONDS = 150
CAP = 60_000
EXITS = (0, 1, 3, 5, 6)
ROLES = ("judge", "proposer", "guard", "target")


def completion(text: object, **other: Any) -> bytes:
    """Fits a chat and a plain completion."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, "text": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"model": "m", "choices": [choice], "usage": usage} | other).encode()


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


def text_of(value: str) -> play.Play:
    return play.raw(completion(value))


def json_text(value: str) -> play.Play:
    """The text as the judge's reason and the proposer's principle, as JSON escapes it."""
    judged = play.judgement(False, reason="@", category="@")
    both = json.loads(judged) | {"principles": [{"text": "@", "category": "@", "prohibiting": "@", "failures": [1]}]}

    def play_it(handler: play.Handler, body: dict[str, Any]) -> None:
        wanted = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required", [])
        fields = {name: both[name] for name in wanted if name in both} or {"text": "@"}
        handler.send(completion(json.dumps(fields).replace('"@"', value)))

    return play_it


def packed(how: str, body: bytes) -> play.Play:
    return lambda handler, _: handler.send(body, Content_Encoding=how)


def redirect(code: int) -> play.Play:
    return play.status(code, "moved", Location=f"http://127.0.0.1:9/{KEY}")


def usage(value: object) -> play.Play:
    return play.raw(completion("yes", usage=value))


def key_ways() -> dict[str, str]:
    data = KEY.encode()
    return {
        "plain": KEY,
        "bearer": f"Authorization: Bearer {KEY}",
        "backwards": KEY[::-1],
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "base64": base64.b64encode(data).decode(),
        "base64 of bearer": base64.b64encode(b"Bearer " + data).decode(),
        "percent": "".join(f"%{byte:02X}" for byte in data),
        "html": "".join(f"&#{byte};" for byte in data),
        "\\u": "".join(f"\\u{byte:04x}" for byte in data),
        "\\\\u": "".join(f"\\\\u{byte:04x}" for byte in data),
    }


def hostile() -> dict[str, play.Play]:
    """What the server may answer, by name."""
    halves = {
        "half": '"\\ud83d"',
        "low half": '"\\udfff"',
        "swapped": '"\\ude00\\ud83d"',
        "halves": '"\\ud83d x \\ud83d"',
    }
    plays: dict[str, play.Play] = {f"surrogates: {name}": json_text(value) for name, value in halves.items()}
    plays |= {
        f"surrogates in text: {name}": play.raw(completion("@").replace(b'"@"', v.encode()))
        for name, v in halves.items()
    }
    for name, value in key_ways().items():
        quoted = f'"{value}"' if name.startswith("\\") else json.dumps(value)
        plays[f"key in JSON: {name}"] = json_text(quoted)
        plays[f"key in text: {name}"] = text_of(value)
        plays[f"key in an error: {name}"] = play.status(400, value)
    for code in (400, 401, 402, 403, 404, 409, 418, 422, 429, 500, 502, 503, 529):
        plays[f"HTTP {code}"] = play.status(code, f"no {KEY}", Retry_After="0")
    plays |= {f"redirect {code}": redirect(code) for code in (301, 302, 303, 307, 308)}
    bodies: dict[str, bytes] = {
        "html": b"<html><script>alert(1)</script></html>",
        "nothing": b"",
        "null": b"null",
        "list": b"[]",
        "object": b"{}",
        "no choices": b'{"choices": []}',
        "choice null": b'{"choices": [null]}',
        "choices object": b'{"choices": {"0": 1}}',
        "content number": completion(7),
        "content null": completion(None),
        "content list": completion([{"type": "text", "text": "x"}, 7]),
        "NaN": b'{"choices": [{"message": {"content": NaN}, "text": NaN}]}',
        "infinite": b'{"choices": [{"text": 1e999, "message": {"content": 1e999}}]}',
        "long number": b'{"choices": ' + b"9" * 10_000 + b"}",
        "brackets": b"[" * 200_000,
        "objects": b'{"a":' * 100_000,
        "doubled": b'{"choices": [], "choices": [{"text": "x", "message": {"content": "y"}}]}',
        "binary": bytes(range(256)) * 40,
        "UTF-16": completion("yes").decode().encode("utf-16"),
        "BOM": b"\xef\xbb\xbf" + completion("yes"),
        "broken UTF-8": completion("yes").replace(b"yes", b"\xff\xfe\xed\xa0\xbd"),
        "cut": completion("yes")[:40],
        "events": b"data: {}\n\ndata: [DONE]\n\n",
        "escapes": completion("\x1b[2J\x1b]0;owned\x07\x00\x08"),
        "5 MB": completion("x" * 5_000_000),
        "40 MB": b" " * 40_000_000,
        "3 MB": completion("word " * 600_000),
        "doubled keys within": completion('{"verdict": "acceptable", "verdict": "unacceptable"}'),
        "brackets within": completion("[" * 100_000),
        "thoughts": completion("<think>" + "hm " * 3000),
        "ends of thoughts": completion("</think>" * 3000),
        "other model": completion("yes", model="\x1b[31mgpt-0\ud83d"),
        "model number": completion("yes", model=7),
        "finish odd": completion("yes").replace(b'"stop"', b'{"x": 1}'),
    }
    plays |= {f"body: {name}": play.raw(body) for name, body in bodies.items()}
    lies: dict[str, object] = {
        "missing": None, "empty": {}, "list": [1], "zeros": {"prompt_tokens": 0, "completion_tokens": 0},
        "negative": {"prompt_tokens": -5, "completion_tokens": -5},
        "absurd": {"prompt_tokens": 10**40, "completion_tokens": 10**40}, "text": {"prompt_tokens": "many"},
        "total alone": {"total_tokens": 10**30, "prompt_tokens": 1, "completion_tokens": 1},
    }  # fmt: skip
    plays |= {f"usage: {name}": usage(value) for name, value in lies.items()}
    whole = completion("from a packet")
    layers = gzip.compress(gzip.compress(gzip.compress(bytes(10_000_000))))
    plays |= {
        "packed: gzip": packed("gzip", gzip.compress(whole)),
        "packed: gzip bomb": packed("gzip", bomb(300)),
        "packed: deflate bomb": packed("deflate", zlib.compress(bytes(100_000_000), 9)),
        "packed: three layers": packed("gzip, gzip, gzip", layers),
        "packed: ten layers": packed(", ".join(["gzip"] * 10), layers),
        "packed: br": packed("br", b"\x8b\x03\x80"),
        "packed: zstd": packed("zstd", b"\x28\xb5\x2f\xfd\x00"),
        "packed: a lie": packed("gzip", whole),
        "packed: cut": packed("gzip", gzip.compress(whole)[:-9]),
        "broken: reset": play.reset,
        "broken: half": play.half,
        "broken: drip": play.drip,
        "broken: headers drip": play.drip_headers,
    }
    return plays


class Attack:
    """Answers one role with a hostile reply, always or now and then, and the others sensibly."""

    def __init__(self, reply: play.Play, role: str, share: float, seed: int) -> None:
        self.reply, self.role, self.share, self.seed = reply, role, share, seed
        self.asked: Counter[str] = Counter()
        self.played = 0

    def __call__(self, handler: play.Handler, body: dict[str, Any]) -> None:
        hit = role_of(body) == self.role and not play.is_probe(body) and self.drawn(handler, json.dumps(body))
        (self.reply if hit else sensible)(handler, body)

    def drawn(self, handler: play.Handler, asked: str) -> bool:
        """By what is asked and how often it was, since calls come in no fixed order."""
        with handler.server.lock:
            self.asked[asked] += 1
            hit = draw(f"{self.seed} {self.asked[asked]} {asked}") < self.share
            self.played += hit
        return hit


def draw(text: object) -> float:
    """From 0 to 1, the same for the same text in every process."""
    return zlib.crc32(str(text).encode()) / 2**32


def role_of(body: dict[str, Any]) -> str:
    wanted = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required", [])
    if "prompt" in body and body["model"] != "guard":
        return "target"
    return "guard" if body["model"] == "guard" else "proposer" if "principles" in wanted else "judge"


def sensible(handler: play.Handler, body: dict[str, Any]) -> None:
    match role_of(body):
        case "target":
            text = "I'm sorry, but I can't help with that." if draw(body["prompt"]) < 1 / 2 else "Sure, here is how."
        case "guard":
            text = "unsafe\nS1" if draw(body["messages"]) < 2 / 3 else "safe"
        case "proposer":
            text = json.dumps(
                {"principles": [{"text": "Decline what does harm.", "category": "harm", "failures": [1]}]}
            )
        case _:
            text = play.PROBED if play.is_probe(body) else play.judgement(draw(body["messages"]) < 1 / 2)
    handler.send(completion(text))


def settings(url: str, role: str) -> dict[str, Any]:
    judge = {"model": "judge", "base_url": url, "api_key_env": "HOSTILE_KEY", "timeout": 2, "connect_timeout": 2}
    judge |= {"max_retries": 1, "retry_seconds": 5, "concurrency": 4}
    oracle: dict[str, Any] = {"judge": judge, "max_tokens": CAP}
    model: dict[str, Any] = {"path": "demo", "device": "cpu", "dtype": "float32"}
    if role == "guard":
        guard = {"family": "llama-guard", "model": "guard", "base_url": url, "api_key_env": "HOSTILE_KEY", "timeout": 2}
        oracle["guards"] = [guard]
    if role == "target":
        model |= {"engine": "served", "served": {"base_url": url, "name": "base", "api_key_env": "HOSTILE_KEY"}}
    return {
        "model": model,
        "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign_limit": 6},
        "oracle": oracle,
        "rounds": {"prompts": 6},
        "sampling": {"max_new_tokens": 8},
        "training": {"epochs": 1, "min_benign": 1},
        "revision": {"tries": 1},
        "measure": {"capability": None},
        "lookahead": {"rounds": 1},
        "threads": 1,
    }


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def one_run(place: Path, server: play.Server, attack: Attack) -> tuple[int, list[str]]:
    """The exit code of a run under attack, and what is wrong with how it went."""
    server.usual = attack
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(json.dumps(settings(server.url, attack.role)))
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HOSTILE_KEY": KEY, "XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-c", "from iteralign.cli import main; main()", "run", "config.yaml", "--run-dir", "run"]
    try:
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, timeout=SECONDS, preexec_fn=bounded
        )
    except subprocess.TimeoutExpired:
        return -1, [f"still running after {SECONDS} s"]
    return done.returncode, list(faults(place, done.returncode, done.stdout + done.stderr))


def faults(place: Path, code: int, printed: bytes) -> list[str]:
    found = [] if code in EXITS else [f"exit code {code}: {printed[-600:].decode(errors='replace')}"]
    if b"Traceback" in printed or b"MemoryError" in printed:
        found.append(f"a traceback: {printed[-900:].decode(errors='replace')}")
    for name, content in [
        ("what it printed", printed),
        *((str(p), p.read_bytes()) for p in place.rglob("*") if p.is_file()),
    ]:
        found += [f"the key ({way}) is in {name}" for way, shown in key_ways().items() if shown.encode() in content]
        if b"\x1b]0;owned" in content and name == "what it printed":
            found.append("an escape sequence reached the terminal")
    ledger = place / "run" / "oracle" / "calls.jsonl"
    calls = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    spent = sum(call["prompt_tokens"] + call["completion_tokens"] for call in calls if not call["cached"])
    return [*found, f"{spent} tokens, beyond the cap"] if spent > CAP else found


def campaign(runs: int | None, seed: int, tell: Callable[[str], None] = print) -> int:
    """`runs` of all pairs of a role and a reply, drawn by the seed; all of them for None. The number of bad runs."""
    plays = hostile()
    chance = random.Random(seed)
    pairs = [(role, name) for role in ROLES for name in plays]
    chance.shuffle(pairs)
    codes: Counter[int] = Counter()
    bad = played = 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="iteralign-hostile-") as scratch:
        for number, (role, name) in enumerate(pairs[:runs]):
            server = play.Server()
            attack = Attack(plays[name], role, chance.choice((0.2, 1.0)), seed + number)
            code, wrong = one_run(Path(scratch) / f"{number}", server, attack)
            server.shutdown()
            server.server_close()
            codes[code] += 1
            played += attack.played
            bad += bool(wrong)
            for fault in wrong[:5]:
                tell(f"  {role}, {name}, share {attack.share}: {fault}")
    ends = ", ".join(f"{count} with {code}" for code, count in sorted(codes.items()))
    tell(
        f"hostile: {sum(codes.values())} runs of {len(pairs)} pairs ({len(plays)} kinds of reply, 4 roles), seed {seed}, "
        f"{played} hostile replies; exit codes: {ends}; {bad} bad; {time.monotonic() - begin:.0f} s"
    )
    return bad


def main() -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Whole runs against a hostile server.")
    parser.add_argument("--runs", type=int, help="so many, drawn by the seed; without it all")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    return 1 if campaign(chosen.runs, chosen.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
