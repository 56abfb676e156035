"""The target's server has the protections that an oracle's has: keys, redirects, sizes, packing, sense."""

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from oracles import conftest as play

from iteralign.endpoints.keys import endpoint_key
from iteralign.errors import TargetError
from iteralign.oracles.client import ChatClient
from iteralign.records import Sampling
from iteralign.settings.model import ServedSettings
from iteralign.settings.oracle import EndpointSettings
from iteralign.targets.served import ServedTarget
from iteralign.weights.model import LocalModel

KEY = "sk-marked-served-77"
SAMPLING = Sampling(max_new_tokens=8)


def completion(text: object = "yes", **other: Any) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}} | other).encode()


@pytest.fixture
def server() -> Iterator[play.Server]:
    one = play.Server()
    yield one
    one.shutdown()
    one.server_close()


@pytest.fixture
def target(server: play.Server, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedTarget:
    monkeypatch.setenv("SERVED_KEY", KEY)
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    known = {"base_url": server.url, "name": "base", "api_key_env": "SERVED_KEY", "timeout": 3, "max_retries": 0}
    return ServedTarget(model, ServedSettings.model_validate(known))


def generated(target: ServedTarget) -> str:
    return target.generate(["one"], SAMPLING)[0].text


def test_a_key_that_is_echoed_is_found_nowhere(server: play.Server, target: ServedTarget) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY).encode()
    server.script = [play.raw(completion(f"a {KEY} b")), play.raw(completion("HERE").replace(b"HERE", escaped))]
    assert generated(target) == "a [key] b" and generated(target) == "[key]"
    server.usual = play.status(400, f"bad {KEY}, {KEY[::-1]}")
    with pytest.raises(TargetError) as told:
        generated(target)
    assert KEY not in str(told.value) and "[key]" in str(told.value) and told.value.__cause__ is None
    assert set(server.keys) == {f"Bearer {KEY}"}


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(code: int, server: play.Server, target: ServedTarget) -> None:
    other = play.Server()
    server.usual = play.status(code, "moved", Location=f"{other.url}/completions")
    with pytest.raises(TargetError, match="redirects to"):
        generated(target)
    assert other.requests == [] and other.keys == []
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize("dripping", [play.drip, play.drip_headers])
def test_a_reply_that_drips_is_given_up_in_time(dripping: play.Play, server: play.Server, target: ServedTarget) -> None:
    server.usual = dripping
    begin = time.monotonic()
    with pytest.raises(TargetError, match="timed out"):
        generated(target)
    assert time.monotonic() - begin < 15  # of 30 s that it drips; the timeout is 3 s


def test_a_reply_without_end_is_given_up(server: play.Server, target: ServedTarget) -> None:
    server.usual = play.raw(completion("x" * 5_000_000))
    with pytest.raises(TargetError, match="longer than 4,000,000 bytes"):
        generated(target)


def packed(how: str, body: bytes) -> play.Play:
    ways: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "br": bytes}
    packing = ways.get(how, gzip.compress)
    layers = gzip.compress(packing(body)) if "," in how else packing(body)
    return lambda handler, _: handler.send(layers, Content_Encoding=how)


@pytest.mark.parametrize("how", ["gzip", "deflate", "GZIP"])
def test_a_packed_reply_is_read(how: str, server: play.Server, target: ServedTarget) -> None:
    server.usual = packed(how, completion("from a packet"))
    assert generated(target) == "from a packet"


@pytest.mark.parametrize("how", ["gzip, gzip", "gzip, gzip, gzip", "br", "zstd"])
def test_what_is_packed_in_another_way_is_refused(how: str, server: play.Server, target: ServedTarget) -> None:
    server.usual = packed(how, completion())
    with pytest.raises(TargetError, match="which was not asked for"):
        generated(target)


def test_a_small_packet_that_holds_gigabytes_is_given_up_early(server: play.Server, target: ServedTarget) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
    assert len(bomb) < 400_000
    server.usual = lambda handler, _: handler.send(bomb, Content_Encoding="gzip")
    with pytest.raises(TargetError, match="longer than"):
        generated(target)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"<html>502</html>",
            b"",
            b"null",
            b"[]",
            b"{}",
            b'{"choices": {}}',
            b'{"choices": [null]}',
            b"\xff\xfe",
            b"[" * 99999,
        ),
        *(completion(None), completion(7), b'{"choices": [{"text": 1e999}]}', b"9" * 9999),
    ],
)
def test_what_is_no_completion_is_said(body: bytes, server: play.Server, target: ServedTarget) -> None:
    server.usual = play.raw(body)
    with pytest.raises(TargetError, match=r"not (a )?JSON|without a completion"):
        generated(target)


@pytest.mark.parametrize(
    "usage", [None, {}, [], {"completion_tokens": 0}, {"completion_tokens": -3}, {"completion_tokens": 10**18}]
)
def test_a_false_count_is_replaced_by_the_tokenizers(usage: object, server: play.Server, target: ServedTarget) -> None:
    server.usual = play.raw(completion("one two three", usage=usage))
    (one,) = target.generate(["one"], SAMPLING)
    assert 1 <= one.tokens <= 13


def test_half_an_emoji_can_be_stored(server: play.Server, target: ServedTarget) -> None:
    server.usual = play.raw(completion("HERE").replace(b"HERE", b"a\\ud83d"))
    (one,) = target.generate(["one"], SAMPLING)
    assert one.text == "a\ufffd" and one.model_dump_json()


def test_a_firewall_costs_one_answer(server: play.Server, target: ServedTarget) -> None:
    server.script = [play.raw(completion()), play.status(403, "blocked"), play.raw(completion())]
    target.concurrency = 1
    answers = target.generate(["one", "two", "three"], SAMPLING)
    assert [one.text for one in answers] == ["yes", "", "yes"]


ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-of-openai-1234",
    "OPENAI_ORG_ID": "org-secret",
    "OPENAI_PROJECT_ID": "proj-secret",
    "OPENAI_CUSTOM_HEADERS": "X-Team: team-secret\nAuthorization: Bearer custom-secret",
}


def sent_headers(server: play.Server, client: Callable[[], ChatClient], monkeypatch: pytest.MonkeyPatch) -> str:
    seen: list[str] = []
    usual = server.usual

    def noted(handler: play.Handler, body: dict[str, object]) -> None:
        seen.append(str(handler.headers))
        usual(handler, body)

    server.usual = noted
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    client().check()
    assert seen
    return "\n".join(seen)


def test_what_the_environment_says_for_openai_goes_to_nobody_else(
    server: play.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    headers = sent_headers(server, lambda: ChatClient(EndpointSettings(model="m", base_url=server.url)), monkeypatch)
    assert not any(part in headers for part in ("openai-1234", "secret", "X-Team", "Organization"))
    headers = sent_headers(
        server,
        lambda: ChatClient(EndpointSettings(model="m", base_url=server.url, api_key_env="OPENAI_API_KEY")),
        monkeypatch,
    )
    assert "Bearer sk-of-openai-1234" in headers and "secret" not in headers


def test_an_address_named_beside_the_key_is_meant(
    server: play.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OPENAI_BASE_URL and OPENAI_API_KEY together are the openai package's way of naming both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    headers = sent_headers(server, lambda: ChatClient(EndpointSettings(model="m", base_url=server.url)), monkeypatch)
    assert "org-secret" in headers and "team-secret" in headers


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://evil-api.openai.com.example/v1", False),
        ("https://notapi.openai.com.co/v1", False),
        ("https://x.openai.azure.com/openai/v1", False),
        ("http://127.0.0.1:8000/v1", False),
    ],
)
def test_whose_key_it_is(url: str, sent: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-1234")
    assert (endpoint_key(None, url) is not None) == sent
    assert endpoint_key("OPENAI_API_KEY", url) == "sk-of-openai-1234"
