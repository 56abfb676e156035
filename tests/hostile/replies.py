"""What a hostile server answers: 114 kinds of reply."""

import base64
import gzip
import json
import zlib
from typing import Any

from oracles import conftest as play

KEY = "sk-hostile-mark-91b7c4"


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
    """The key as a server may send it back."""
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
