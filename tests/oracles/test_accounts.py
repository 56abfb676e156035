"""Cache, budget, keys and interruption."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iteralign.endpoints.keys import OPENAI_URL
from iteralign.errors import (
    BudgetReached,
    ConfigError,
    CorruptFileError,
    IteralignError,
    OracleAccessError,
    RunDirectoryError,
)
from iteralign.oracles import budget
from iteralign.oracles.budget import Account, Call, CallsSoFar, Total, read_calls, totals_by_step
from iteralign.oracles.cache import ReplyCache, default_path
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.oracles.prices import Price, PriceTable, load_prices
from iteralign.settings.oracle import EndpointSettings

from . import conftest as play

Make = Callable[..., ChatClient]


def ask(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), **({"max_tokens": 512} | fields))


def python(code: str, *args: str) -> "subprocess.Popen[str]":
    src = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": src}
    command = [sys.executable, "-c", textwrap.dedent(code), *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def test_an_answered_call_is_not_sent_again(server: play.Server, make_client: Make, tmp_path: Path) -> None:
    server.usual = play.text("fine")
    for _ in range(2):
        make_client(cache=ReplyCache()).complete([ask("a"), ask("b"), ask("a", sample=1)])
    assert len(server.requests) == 3
    assert default_path() == tmp_path / "cache/iteralign/replies.sqlite"
    cache = ReplyCache()
    assert cache.stats().by_model == {"tiny": 3}
    assert cache.path.stat().st_mode & 0o077 == 0
    assert (cache.clear("other"), cache.clear(), cache.stats().replies) == (0, 3, 0)


def test_failures_are_not_cached(server: play.Server, make_client: Make) -> None:
    server.usual = play.status(400, "maximum context length")
    client = make_client(cache=ReplyCache())
    assert client.complete([ask("a")])[0].error
    server.usual = play.text("fine")
    assert client.complete([ask("a")])[0].text == "fine"


def test_the_cache_is_shared_by_processes(tmp_path: Path) -> None:
    code = """
        import sys
        from iteralign.oracles.cache import ReplyCache
        cache = ReplyCache(sys.argv[1])
        for n in range(200):
            cache.put(f"{sys.argv[2]} {n}", "m", {"text": str(n)})
            cache.put(f"both {n}", "m", {"text": str(n)})
        print(all(cache.get(f"both {n}") == {"text": str(n)} for n in range(200)))
    """
    path = tmp_path / "shared.sqlite"
    running = [python(code, str(path), name) for name in ("one", "two")]
    results = [process.communicate(timeout=30) for process in running]
    assert [out.strip() for out, _ in results] == ["True", "True"], results
    assert ReplyCache(path).stats().replies == 600


def test_processes_that_open_a_new_cache_at_the_same_moment_can_all_use_it(tmp_path: Path) -> None:
    code = """
        import sys
        from iteralign.oracles.cache import ReplyCache
        for line in sys.stdin:
            cache = ReplyCache(line.strip())
            cache.put(sys.argv[1], "m", {"text": "mine"})
            print(cache.problem, cache.get(sys.argv[1]), flush=True)
            cache.close()
    """
    running = [python(code, str(number)) for number in range(6)]
    for number in range(150):
        for process in running:
            assert process.stdin
            process.stdin.write(f"{tmp_path}/{number}.sqlite\n")
            process.stdin.flush()
        told = [process.stdout.readline().strip() for process in running if process.stdout]
        assert told == ["None {'text': 'mine'}"] * 6, number
    assert [process.communicate(timeout=30)[1] for process in running] == [""] * 6


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_an_unusable_cache_is_a_warning(
    content: bytes | None, tmp_path: Path, server: play.Server, make_client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "broken"
    path.mkdir() if content is None else path.write_bytes(content)
    cache = ReplyCache(path)
    assert make_client(cache=cache).complete([ask("a")])[0].error is None
    assert "reply cache" in caplog.text and cache.stats().replies == 0


def test_totals_survive_and_a_torn_line_is_left_out(server: play.Server, make_client: Make, tmp_path: Path) -> None:
    path = tmp_path / "oracle/calls.jsonl"
    prices = PriceTable(anywhere={"tiny": Price(2.5, 10.0)})
    make_client(account=Account(path, prices), cache=ReplyCache()).complete([ask("a"), ask("b")], step="judge")
    with path.open("a") as file:
        file.write('{"request": "torn')
    account = Account(path, prices)
    make_client(account=account, cache=ReplyCache()).complete([ask("b"), ask("c")], step="propose")
    assert len(read_calls(path)) == 4
    total = Account(path, prices).total()
    assert (total.calls, total.cached, total.tokens) == (4, 1, 45)
    assert total.cost == pytest.approx(3 * (10 * 2.5 + 5 * 10) / 1e6)
    assert {step: one.calls for step, one in totals_by_step(read_calls(path)).items()} == {"judge": 2, "propose": 2}
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(CorruptFileError, match="line 1"):
        Account(path)


def test_each_line_is_read_once_however_often_the_total_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / "calls.jsonl", list[bytes]()
    adapter = budget._CALL

    def validated(line: bytes, strict: bool) -> Call:
        read.append(line)
        return adapter.validate_json(line, strict=strict)

    monkeypatch.setattr(budget, "_CALL", SimpleNamespace(validate_json=validated))
    account, so_far = Account(path, PriceTable({})), CallsSoFar(path)
    assert so_far.total() == Total()
    for rounds in range(1, 5):
        for _ in range(3):
            account.record(Call("x", "judge", "m", 10, 2, None, False, "answered", 1))
        with path.open("a") as file:
            file.write('{"request": "torn')
        assert so_far.total() == account.total() and len(read) == 3 * rounds
        path.write_bytes(path.read_bytes().removesuffix(b'{"request": "torn'))
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(CorruptFileError, match="line 13: not a call"):
        so_far.total()


def test_unknown_prices_are_unknown(server: play.Server, make_client: Make) -> None:
    account = Account()
    make_client(account=account).complete([ask("a")])
    assert account.total().cost is None and account.total().tokens == 15
    with pytest.raises(ConfigError, match="price of tiny at http://"):
        make_client(account=Account(cost_budget=1.0))


def test_a_server_of_ones_own_is_not_billed_at_openais_price(server: play.Server, tmp_path: Path) -> None:
    assert load_prices().of(OPENAI_URL, "gpt-4o-mini") == Price(0.15, 0.60, 0.075)
    account = Account(tmp_path / "calls.jsonl")
    ChatClient(EndpointSettings(model="gpt-4o-mini", base_url=server.url), account=account).complete([ask("a")])
    assert account.total().cost is None and read_calls(tmp_path / "calls.jsonl")[0].cost is None
    with pytest.raises(ConfigError, match="gpt-4o-mini at http://"):
        ChatClient(EndpointSettings(model="gpt-4o-mini", base_url=server.url), account=Account(cost_budget=1.0))


def test_prices_belong_to_an_endpoint_or_hold_everywhere(tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text(
        "mine: {input: 1, output: 2}\n"
        "http://one/v1/:\n  mine: {input: 3, cached_input: 1, output: 4}\n  other: {input: 5, output: 6}\n"
    )
    prices = load_prices(table)
    assert prices.of("http://one/v1", "mine") == Price(3, 4, 1)
    assert prices.of("http://two/v1", "mine") == Price(1, 2)
    assert prices.of("http://one/v1", "other") == Price(5, 6) and prices.of("http://two/v1", "other") is None


USAGE: list[tuple[dict[str, Any], int]] = [
    ({"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8}}}, 8),
    ({"usage": {"prompt_tokens": 10, "prompt_tokens_details": None, "prompt_cache_hit_tokens": 7}}, 7),
    ({"usage": {"prompt_tokens": 10, "cache_read_input_tokens": 6}}, 6),
    ({"usage": {"prompt_tokens": 10}, "timings": {"cache_n": 5, "prompt_n": 5}}, 5),
    ({"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99}}}, 10),
    ({"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": "8"}}, "timings": []}, 0),
    ({"usage": {"prompt_tokens": 10}}, 0),
]


@pytest.mark.parametrize(("told", "reused"), USAGE)
def test_reused_tokens_are_counted_and_priced_apart(
    told: dict[str, Any], reused: int, server: play.Server, make_client: Make, tmp_path: Path
) -> None:
    body = json.loads(play.chat_body("fine")) | told
    body["usage"] |= {"completion_tokens": 5}
    server.usual = play.raw(json.dumps(body).encode())
    path, prices = tmp_path / "calls.jsonl", PriceTable(anywhere={"tiny": Price(10.0, 100.0, 1.0)})
    make_client(account=Account(path, prices)).complete([ask("a")])
    (call,), total = read_calls(path), Account(path, prices).total()
    assert call.reused_tokens == total.reused_tokens == reused
    assert total.cost == pytest.approx(((10 - reused) * 10 + reused * 1 + 5 * 100) / 1e6)
    assert Price(10.0, 100.0).cost(10, 5, reused) == pytest.approx((10 * 10 + 5 * 100) / 1e6)  # unknown: the full price


def test_what_was_written_before_tokens_were_reused_is_still_read(
    server: play.Server, make_client: Make, tmp_path: Path
) -> None:
    path, cache = tmp_path / "calls.jsonl", ReplyCache()
    make_client(account=Account(path), cache=cache).complete([ask("a")])
    old = json.loads(path.read_text())
    del old["reused_tokens"]
    path.write_text(json.dumps(old) + "\n")
    kept = cache.get(old["request"]) or {}
    assert kept.pop("reused_tokens") == 0
    cache.clear()
    cache.put(old["request"], "tiny", kept)
    account = Account(path)
    assert make_client(account=account, cache=cache).complete([ask("a")])[0].cached
    assert account.total().calls == 2 and len(server.requests) == 1


def test_own_prices(tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text("mine: {input: 0, output: 0}\n")
    free = load_prices(table).of("http://anywhere/v1", "mine")
    assert free is not None and free.cost(10, 10) == 0
    for wrong in (
        *("mine: 3", "mine: {input: -1, output: 1}", "mine: {input: true, output: 1}", "- a", "a: [", "\t"),
        *("mine: {input: 1, output: 1, cached_input: 2}", "http://one: 3", "http://one: {input: 1, output: 1}"),
    ):
        table.write_text(wrong)
        with pytest.raises(ConfigError):
            load_prices(table)
    with pytest.raises(ConfigError):
        load_prices(tmp_path / "absent.yaml")


def test_a_cap_is_kept_and_what_was_paid_is_kept(server: play.Server, make_client: Make, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    requests = [ask(f"{n}", max_tokens=10) for n in range(50)]
    with pytest.raises(BudgetReached, match="resume"):
        make_client(account=Account(path, token_budget=200), cache=ReplyCache()).complete(requests)
    spent = Account(path).total()
    assert 150 < spent.tokens <= 200
    with pytest.raises(BudgetReached):
        make_client(account=Account(path, token_budget=200), cache=ReplyCache()).complete(requests)
    make_client(account=Account(path, token_budget=10_000), cache=ReplyCache()).complete(requests)
    assert len(server.requests) == 50  # nothing was paid for twice


def test_the_key_is_sent_and_never_seen(
    server: play.Server,
    make_client: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"your key {play.KEY} is Bearer {play.KEY}"
    server.script = [play.status(500, echo), play.raw(echo.encode()), play.text(play.judgement(reason=echo))]
    account = Account(tmp_path / "calls.jsonl")
    client = make_client(account=account, cache=ReplyCache())
    (verdict,) = play.llm(client).judge([play.response("q", "a")])
    assert server.keys[0] == f"Bearer {play.KEY}"
    assert "[key]" in verdict.reason
    server.usual = play.status(400, "x" * 290 + echo)
    (reply,) = client.complete([ask("b")])
    server.usual = play.status(401, echo)
    with pytest.raises(OracleAccessError) as caught:
        client.check()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()).decode("utf-8", "replace")
    shown = "".join(capfd.readouterr()) + caplog.text + str(caught.value) + verdict.model_dump_json() + str(reply)
    assert "sk-marked" not in written + shown


def test_the_key_may_stand_in_dotenv(server: play.Server, make_client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("OPENAI_API_KEY=from-dotenv\nOTHER_KEY='other-key-1'\n")
    make_client().check()
    make_client(api_key_env="OTHER_KEY").check()
    monkeypatch.delenv("OPENAI_API_KEY")
    make_client().check()
    assert server.keys == [f"Bearer {play.KEY}", "Bearer other-key-1", "Bearer from-dotenv"]
    assert "OPENAI_API_KEY" not in os.environ
    Path(".env").unlink()
    make_client().check()  # an endpoint of one's own may need none
    with pytest.raises(OracleAccessError, match=r"OPENAI_API_KEY=.*oracle\.judge\.base_url"):
        ChatClient(EndpointSettings(model="gpt-4o-mini"))


def test_a_full_disk_is_one_error_and_no_line_is_torn(server: play.Server, tmp_path: Path) -> None:
    """A bound on the size of files stops writes in the middle of a line, as a full disk does."""
    server.usual = play.text("fine")
    code = """
        import resource, sys
        from pathlib import Path
        from iteralign.errors import RunDirectoryError
        from iteralign.oracles.budget import Account
        from iteralign.oracles.client import ChatClient, ChatRequest, Message
        from iteralign.settings.oracle import EndpointSettings
        endpoint = EndpointSettings(model="tiny", base_url=sys.argv[1], concurrency=4)
        client = ChatClient(endpoint, account=Account(Path("calls.jsonl")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            client.complete([ChatRequest((Message("user", str(n)),), 512) for n in range(20)])
        except RunDirectoryError as error:
            print(error)
    """
    done = python(code, server.url).communicate(timeout=60)
    assert "calls.jsonl" in done[0] and "make room" in done[0], done
    assert read_calls(Path("calls.jsonl")) and Path("calls.jsonl").read_bytes().endswith(b"}\n")


def test_an_account_that_can_not_be_written_is_one_error(
    server: play.Server, make_client: Make, tmp_path: Path
) -> None:
    (tmp_path / "oracle").write_text("a file where the directory should be")
    account, cache = Account(tmp_path / "elsewhere" / "calls.jsonl"), ReplyCache()
    account.path = tmp_path / "oracle" / "calls.jsonl"
    with pytest.raises(RunDirectoryError, match="permissions"):
        make_client(account=account, cache=cache, concurrency=1).complete([ask("a"), ask("b")])
    assert len(server.requests) == 1
    make_client(account=Account(tmp_path / "calls.jsonl"), cache=cache).complete([ask("a")])
    assert len(server.requests) == 1  # the answer was in the cache before the note failed
    (tmp_path / "unreadable.jsonl").mkdir()
    with pytest.raises(RunDirectoryError, match="can't be read"):
        Account(tmp_path / "unreadable.jsonl")


@pytest.mark.parametrize("content", [b"OPENAI_API_KEY=\xff\xfe", b"OPENAI_API_KEY='two words'"])
def test_a_dotenv_or_key_that_can_not_be_used_says_so(
    content: bytes, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    Path(".env").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        make_client()
    assert "words" not in str(caught.value) and caught.value.__suppress_context__ == (b"\xff" in content)


def test_a_key_in_dotenv_is_taken_literally(
    server: play.Server, make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    Path(".env").write_text("OPENAI_API_KEY=abc${HOME}def\n")
    make_client().check()
    assert server.keys == ["Bearer abc${HOME}def"]


def test_ctrl_c_waits_for_no_call(server: play.Server) -> None:
    server.usual = play.hang
    code = """
        import sys
        from iteralign.oracles.client import ChatClient, ChatRequest, Message
        from iteralign.settings.oracle import EndpointSettings
        client = ChatClient(EndpointSettings(model="tiny", base_url=sys.argv[1]))
        print("ready", flush=True)
        try:
            client.complete([ChatRequest((Message("user", str(n)),), 512) for n in range(20)])
        except KeyboardInterrupt:
            sys.exit(130)
    """
    process = python(code, server.url)
    while len(server.requests) < 8:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)  # half of what a call may take
    assert (process.returncode, errors) == (130, "")
    assert len(server.requests) == 8


def test_importing_the_oracles_loads_no_openai() -> None:
    process = python("import sys, iteralign.oracles.llm; print('openai' in sys.modules, 'torch' in sys.modules)")
    assert process.communicate(timeout=30)[0].strip() == "False False"


def test_errors_are_of_our_tree(server: play.Server, make_client: Make) -> None:
    server.usual = play.status(401, json.dumps({"detail": "no"}))
    with pytest.raises(IteralignError):
        make_client().complete([ask("a")])
