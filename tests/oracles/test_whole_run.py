"""Whole runs over a scripted endpoint: a third of all calls failing, Ctrl-C in a real process, cost per step."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import iteralign
from terminal import Terminal

from iteralign.errors import OracleError
from iteralign.fakes import DECLINES, FakeTarget, FakeTrainer
from iteralign.oracles.budget import Account, read_calls, totals_by_step
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.client import ChatClient
from iteralign.oracles.prices import Price, PriceTable
from iteralign.runs.rounds import Outcome
from iteralign.runs.run import run
from iteralign.settings.oracle import EndpointSettings
from iteralign.settings.settings import Settings, load_settings

from . import conftest as play
from .test_faults import PASSING

Make = Callable[..., ChatClient]

TRANSPORT = ("429", "429 with Retry-After", "500", "503", "reset", "half JSON", "not JSON", "cut JSON", "wrong JSON")


@pytest.fixture
def settings() -> Settings:
    return load_settings(
        {
            "model": {"path": "demo"},
            "data": {"prompts": "demo", "limit": 40, "held_out": 0.25, "benign_limit": 20},
            "oracle": {"judge": {"model": "tiny"}},
            "rounds": {"prompts": 10},
        }
    )


def sensible(handler: play.Handler, body: dict[str, Any]) -> None:
    """Judges a refusal acceptable, and proposes one principle of the first failure's question."""
    content = body["messages"][0]["content"]
    if play.is_probe(body) or "response_format" not in body:
        return play.text("ready")(handler, body)
    if body["response_format"]["json_schema"]["schema"]["required"] == ["principles"]:
        words = re.search(r"question 1 \w+ begins -----\n(.*)", content)
        assert words is not None
        text = f"Do not help with what was asked in {len(words[1])} letters."
        reply = json.dumps({"principles": [{"text": text, "category": "harm", "failures": [1]}]})
    else:
        reply = play.judgement(DECLINES in content)
    return play.text(reply)(handler, body)


def judged_run(settings: Settings, directory: Path, client: ChatClient) -> Outcome:
    return run(settings, directory, target=FakeTarget(), trainer=FakeTrainer(directory), oracle=play.llm(client))


def results(directory: Path) -> dict[str, bytes]:
    """All that a run found; the oracle's account, times and attempts apart."""
    apart = {"manifest.jsonl", "timings.jsonl", "attempts.jsonl", "report.html", "calls.jsonl", ".lock"}
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in apart)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_third_of_all_calls_failing_changes_nothing_of_a_run(
    server: play.Server, make_client: Make, settings: Settings, tmp_path: Path
) -> None:
    server.usual = sensible
    calm = judged_run(settings, tmp_path / "calm", make_client(cache=ReplyCache(tmp_path / "calm.sqlite")))
    needed = len({json.dumps(body) for body in server.requests if "response_format" in body})
    assert any(row.verified for row in calm.metrics) and calm.constitution

    luck, answered, failed = random.Random(5), Counter[str](), 0

    def flaky(handler: play.Handler, body: dict[str, Any]) -> None:
        nonlocal failed
        with server.lock:
            fault = luck.choice(TRANSPORT) if luck.random() < 1 / 3 else None
            failed += fault is not None
            if fault is None and "response_format" in body and not play.is_probe(body):
                answered[json.dumps(body)] += 1
        (sensible if fault is None else PASSING[fault])(handler, body)

    server.usual = flaky
    account = Account(tmp_path / "calls.jsonl")
    client = make_client(
        cache=ReplyCache(tmp_path / "stormy.sqlite"), account=account, max_retries=20, timeout=5, retry_seconds=60
    )
    stormy = judged_run(settings, tmp_path / "stormy", client)
    assert results(tmp_path / "stormy") == results(tmp_path / "calm"), "a fault changed a result"
    assert not stormy.undetermined and failed > needed / 4
    assert len(answered) == needed and set(answered.values()) == {1}, "an answered call was sent again"
    sent = [call for call in read_calls(tmp_path / "calls.jsonl") if not call.cached and call.step != "check"]
    assert len({call.request for call in sent}) == len(sent) == needed


def test_a_run_whose_endpoint_dies_goes_on_from_the_last_answer(
    server: play.Server, make_client: Make, settings: Settings, tmp_path: Path
) -> None:
    """The endpoint is gone after every 25 answers, until somebody resumes: no answer is asked for twice."""
    answered, left = Counter[str](), 25

    def dying(handler: play.Handler, body: dict[str, Any]) -> None:
        nonlocal left
        with server.lock:
            left -= 1
            alive = left >= 0
            if alive and "response_format" in body and not play.is_probe(body):
                answered[json.dumps(body)] += 1
        (sensible if alive else PASSING["503"])(handler, body)

    server.usual = dying
    for attempt in range(20):
        left = 25
        client = make_client(cache=ReplyCache(), max_retries=1)
        try:
            outcome = judged_run(settings, tmp_path / "run", client)
            break
        except OracleError:
            assert attempt < 19
    assert attempt >= 2 and not outcome.undetermined
    assert set(answered.values()) == {1}
    server.usual = sensible
    judged_run(settings, tmp_path / "calm", make_client())
    assert results(tmp_path / "run") == results(tmp_path / "calm")


@pytest.fixture
def config(server: play.Server, tmp_path: Path) -> Path:
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign_limit": 4},
        "oracle": {"judge": {"model": "tiny", "base_url": server.url, "timeout": 30}},
        "rounds": {"prompts": 4, "limit": 1},
        "sampling": {"max_new_tokens": 8},
        "training": {"epochs": 1, "min_benign": 1},
        "revision": {"tries": 1},
        "threads": 1,
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_ctrl_c_waits_for_no_oracle_call(server: play.Server, config: Path) -> None:
    hanging = threading.Event()

    def hang_on_judging(handler: play.Handler, body: dict[str, Any]) -> None:
        if play.is_probe(body):
            return play.text("ready")(handler, body)
        hanging.set()
        return play.hang(handler, body)

    server.usual = hang_on_judging
    command = [sys.executable, "-m", "iteralign", "run", str(config), "--run-dir", "r"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert hanging.wait(120) and process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    answer, rest = process.communicate(timeout=30)[1].partition("\n")[::2]
    assert "iteralign resume r" in answer and "Traceback" not in rest
    assert process.returncode == 130


def test_tokens_spent_against_the_cap_stand_on_the_screen_while_a_model_judges(
    server: play.Server, config: Path, tmp_path: Path
) -> None:
    judged = threading.Event()

    def one_by_one(handler: play.Handler, body: dict[str, Any]) -> None:
        if not play.is_probe(body) and len(server.requests) > 3:
            judged.wait(60)  # until the screen was seen
        sensible(handler, body)

    server.usual = one_by_one
    arguments = ["run", str(config), "--run-dir", "r", "--set", "oracle.token_budget=100000"]
    with Terminal(["iteralign", *arguments], tmp_path) as terminal:
        terminal.until(lambda screen: bool(re.search(r"^oracle: [\d,]+ of 100,000 tokens", screen, re.MULTILINE)))
        screen = terminal.until(lambda screen: bool(re.search(r"judging +\S* +\d+/\d+", screen)))
        judged.set()
        assert terminal.end() in (0, 5)
    assert "Traceback" not in terminal.text and all(len(line) <= 80 for line in screen.splitlines())


def test_status_and_the_end_of_a_run_show_calls_tokens_and_unknown_cost(server: play.Server, config: Path) -> None:
    server.usual = sensible
    done = iteralign("run", str(config), "--run-dir", "r")
    assert done.returncode in (0, 5), done.stderr
    shown = iteralign("status", "r")
    steps = totals_by_step(read_calls(Path("r/oracle/calls.jsonl")))
    assert set(steps) == {"check", "judge", "propose"}
    for printed in (done.stdout, shown.stdout):
        lines = {line.split()[0]: line.split() for line in printed.splitlines() if line.split()}
        judge = steps["judge"]
        assert lines["judge"][1:] == [
            str(judge.calls),
            str(judge.cached),
            "0",
            str(judge.prompt_tokens),
            "0",
            str(judge.completion_tokens),
            "unknown",
        ]
        assert "no price is known for tiny" in printed and "$0" not in printed


def test_known_and_unknown_prices_are_not_mixed_up(
    server: play.Server, make_client: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from iteralign.cli.oracle import print_calls

    prices = PriceTable(anywhere={"tiny": Price(100.0, 1000.0)})
    path = tmp_path / "oracle" / "calls.jsonl"
    judge = make_client(account=Account(path, prices))
    other = ChatClient(EndpointSettings(model="other", base_url=server.url), account=Account(path, prices))
    play.llm(judge, panel=[other]).judge([play.response("q", "a")])
    play.llm(judge).check()
    print_calls(read_calls(path))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "judge 2 0 0 20 0 10 $0.0060 + unknown" in lines and "check 3 0 0 30 0 15 $0.0120 + unknown" in lines
    assert "all 5 0 0 50 0 25 $0.0180 + unknown" in lines
    print_calls([])
    assert capsys.readouterr().out == ""


def test_the_cache_is_shown_and_cleared(server: play.Server, make_client: Make) -> None:
    cache = partial(iteralign, "cache")
    assert "0 replies" in cache().stdout
    judges = (
        make_client(cache=ReplyCache()),
        ChatClient(EndpointSettings(model="other", base_url=server.url), cache=ReplyCache()),
    )
    for client in judges:
        play.llm(client).judge([play.response("q", "a"), play.response("q", "b")])
    shown = cache().stdout
    assert "replies.sqlite: 4 replies" in shown and "oldest" in shown
    assert ["2", "tiny"] in [line.split() for line in shown.splitlines()]
    assert "There are of: other, tiny" in cache("--clear", "--model", "tyni").stdout
    assert "Nothing was removed" in cache("--clear", say="n\n").stdout
    assert cache("--clear").returncode == 1  # nobody there to confirm
    assert "Removed 2 replies of tiny." in cache("--clear", "--model", "tiny", "--yes").stdout
    assert "Removed 2 replies." in cache("--clear", say="y\n").stdout
    wrong = cache("--model", "tiny")
    assert wrong.returncode == 2 and "--clear" in wrong.stderr
    ReplyCache().path.write_bytes(b"this is no database" * 100)
    broken = cache()
    assert broken.returncode == 1 and "damaged" in broken.stderr and "Traceback" not in broken.stderr
