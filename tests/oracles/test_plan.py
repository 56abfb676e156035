"""What a plan says of money and time, beside real runs on a scripted endpoint."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from iteralign.cli.app import app
from iteralign.cli.plan_table import remarks
from iteralign.fakes import COMPLIES, DECLINES, FakeTarget, FakeTrainer
from iteralign.oracles.budget import read_calls
from iteralign.preflight import hours as plan_hours
from iteralign.preflight.cost import Answers, Money, Range
from iteralign.preflight.hours import Counts, Speeds, estimated
from iteralign.preflight.plan import make_plan
from iteralign.records import Checkpoint
from iteralign.runs.run import run
from iteralign.settings.settings import Settings, load_settings

from . import conftest as play
from .test_whole_run import sensible

PRICE = {"input": 1.0, "cached_input": 0.25, "output": 4.0}


@pytest.fixture(autouse=True)
def _nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", play.KEY)


def settings(place: Path, url: str, *, priced: bool = True, **oracle: Any) -> Settings:
    table = place / "prices.yaml"
    table.write_text(yaml.safe_dump({url: {"tiny": PRICE}} if priced else {}))
    values: dict[str, Any] = {
        "model": {"path": "demo"},
        "data": {"prompts": "demo", "limit": 24, "held_out": 0.25, "benign_limit": 20},
        "oracle": {"judge": {"model": "tiny", "base_url": url}, "prices_file": str(table), **oracle},
        "rounds": {"prompts": 6},
        "sampling": {"max_new_tokens": 24},
        "training": {"max_length": 256},
        "threads": 1,
    }
    return load_settings(values)


def answers(least: int, most: int) -> Answers:
    return Answers(Range(least, least), Range(0, 0), Range(0, most - least), Range(0, 0))


def with_twins(handler: play.Handler, body: dict[str, Any]) -> None:
    """The same, and writes twins that it finds harmless."""
    required = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required")
    if required == ["questions"]:
        failed = re.findall(r"question (\d+) \w+ begins -----\n(.*)", body["messages"][0]["content"])
        twins = [{"order": int(number), "question": f"{text[:-1]} in a game of chess?"} for number, text in failed]
        return play.text(json.dumps({"questions": twins}))(handler, body)
    if required == ["harmful"]:
        return play.text(json.dumps({"harmful": False}))(handler, body)
    return sensible(handler, body)


def test_what_twins_take_lies_within_the_plan(server: play.Server, tmp_path: Path) -> None:
    server.usual = with_twins
    off = settings(tmp_path, server.url)
    chosen = load_settings(off.model_dump(mode="json"), ["constitution.twins=2"])
    plan, without = make_plan(chosen), make_plan(off)
    here = tmp_path / "run"
    run(chosen, here, target=FakeTarget(), trainer=FakeTrainer(here))
    kept = [json.loads(line) for file in here.glob("rounds/*/3f_twins.jsonl") for line in file.read_text().splitlines()]
    assert kept and all("in a game of chess" in one["response"]["prompt"]["question"] for one in kept)
    calls = read_calls(here / "oracle" / "calls.jsonl")
    asked = sum(call.step in ("twins", "wish") for call in calls)
    (step,) = [step for step in plan.oracle_steps if step.step == "twins"]
    assert 2 <= asked <= step.calls.most
    answered = plan.answers.looped.most - without.answers.looped.most
    assert len(kept) <= answered and plan.trained_rows.most > without.trained_rows.most
    assert not any(step.step == "twins" for step in without.oracle_steps)


def in_parts(handler: play.Handler, body: dict[str, Any]) -> None:
    """The same, and says of one failure what somebody wanted."""
    required = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required")
    parts = play.text(json.dumps({"wish": "steal a car", "hurt": "its owner"}))
    return (parts if required == ["wish", "hurt"] else sensible)(handler, body)


@pytest.mark.parametrize(
    ("fails", "proposals"),
    [(True, "rules"), (True, "parts"), (False, "rules")],
    ids=["all fail", "all fail, in parts", "none fails"],
)
def test_what_a_run_takes_lies_within_its_plan(
    fails: bool, proposals: str, server: play.Server, tmp_path: Path
) -> None:
    server.usual = in_parts
    chosen = settings(tmp_path, server.url, proposals=proposals)
    plan = make_plan(chosen)

    def answer(text: str, checkpoint: Checkpoint) -> str:
        return f"{COMPLIES if fails else DECLINES} This is answer {len(text)} of round {checkpoint.round}."

    here = tmp_path / "run"
    run(chosen, here, target=FakeTarget(answer), trainer=FakeTrainer(here))
    calls = [
        call for call in read_calls(here / "oracle" / "calls.jsonl") if call.step != "check" and call.prompt_tokens
    ]
    judged = sum(call.step == "judge" for call in calls)
    steps = {step.step: step for step in plan.oracle_steps}
    judging = steps["judge"].calls + steps["measurement"].calls + steps["gate trials"].calls + steps["verify"].calls
    assert judging.least <= judged <= judging.most
    assert sum(call.step == "propose" for call in calls) <= steps["propose"].calls.most
    assert (sum(call.step == "propose" for call in calls) > 0) == fails
    sent = sum(len(body["messages"][0]["content"]) for body in server.requests if "response_format" in body) // 4
    read = Range(sum(step.prompt_tokens.least for step in plan.oracle_steps), 0)
    assert read.least <= sent <= sum(step.prompt_tokens.most for step in plan.oracle_steps)
    assert not fails or judged > judging.least


def test_money_is_calls_times_tokens_times_price(server: play.Server, tmp_path: Path) -> None:
    plan = make_plan(settings(tmp_path, server.url))
    assert plan.oracle_cost is not None
    for step in plan.oracle_steps:
        assert step.cost is not None
        full = (step.prompt_tokens.least * 1.0 + step.completion_tokens.least * 4.0) / 1e6
        reused = (step.prompt_tokens.least * 0.25 + step.completion_tokens.least * 4.0) / 1e6
        assert reused <= step.cost.least <= full, "the shared head may have been read before"
        most = (step.prompt_tokens.most * 1.0 + step.completion_tokens.most * 4.0) / 1e6
        assert step.cost.most == pytest.approx(most)
    assert plan.oracle_cost.most == pytest.approx(sum(step.cost.most for step in plan.oracle_steps if step.cost))
    three = make_plan(settings(tmp_path, server.url, votes=3))
    assert three.oracle_steps[0].calls == plan.oracle_steps[0].calls * 3


def test_an_unknown_price_is_told_as_that_and_never_as_nothing(server: play.Server, tmp_path: Path) -> None:
    for how in ({"priced": False}, {"proposer": {"model": "other", "base_url": server.url}}):
        chosen = settings(tmp_path, server.url, **how)
        plan = make_plan(chosen)
        assert plan.oracle_cost is None and any(step.cost is None for step in plan.oracle_steps)
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps(chosen.model_dump(mode="json")))
        done = CliRunner().invoke(app, ["plan", str(file)], env={"COLUMNS": "160"})
        assert re.search(r"oracle cost +│ +unknown", done.output)
        assert json.loads(CliRunner().invoke(app, ["plan", str(file), "--json"]).output)["oracle_cost"] is None


@pytest.mark.parametrize(("budget", "reached"), [(1e-4, "surely"), (0.2, "maybe"), (1e4, "no")])
def test_budgets_are_held_against_the_estimate(
    budget: float, reached: str, server: play.Server, tmp_path: Path
) -> None:
    chosen = settings(tmp_path, server.url, cost_budget=budget)
    plan = make_plan(chosen)
    assert [(one.setting, one.reached) for one in plan.budgets] == [("oracle.cost_budget", reached)]
    assert remarks(plan)[0].startswith(f"oracle.cost_budget ${budget:g} ")
    tokens = plan.oracle_tokens
    for most, expected in ((tokens.least - 1, "surely"), (tokens.most - 1, "maybe"), (tokens.most, "no")):
        (one,) = make_plan(settings(tmp_path, server.url, token_budget=most)).budgets
        assert one.reached == expected


def test_a_measurement_asks_one_verdict_and_leaves_nothing_behind(
    server: play.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.usual = sensible
    monkeypatch.setattr(plan_hours, "SECONDS", 0.0)  # the first batch is enough
    chosen = settings(tmp_path, server.url)
    kept = tmp_path / "cache"  # what is known of the model's files
    before = sorted(tmp_path.rglob("*"))
    plan = make_plan(chosen, measure=True)
    assert len([body for body in server.requests if "response_format" in body]) == 1
    assert [path for path in sorted(tmp_path.rglob("*")) if kept not in (path, *path.parents)] == before
    assert plan.time is not None and 0 < plan.time.least < plan.time.most
    found = plan.time.measurement
    assert found.answers == 6 and 0 < found.answer_tokens <= 24 and found.row > 0 and found.verdict > 0
    assert found.verdict_tokens == 15 and found.verdict_cost == pytest.approx(30e-6)
    assert found.in_turn == found.device.startswith("cpu"), "the server is on this machine"
    make_plan(chosen, measure=True)
    assert len([body for body in server.requests if "response_format" in body]) == 2, "never from the cache"


def test_a_training_by_preference_is_measured_too(
    server: play.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.usual = sensible
    monkeypatch.setattr(plan_hours, "SECONDS", 0.0)
    chosen = settings(tmp_path, server.url)
    plan = make_plan(load_settings(chosen.model_dump(mode="json"), ["training.objective=dpo"]), measure=True)
    assert plan.time is not None and plan.time.measurement.row > 0


def test_without_a_measurement_no_hours_are_claimed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{model: {path: demo}, data: {prompts: demo, limit: 20}, oracle: {kind: rules}}")
    done = CliRunner().invoke(app, ["plan", str(file)], env={"COLUMNS": "160"})
    assert re.search(r"time +│ +not measured +│ measure with --measure", done.output)
    assert json.loads(CliRunner().invoke(app, ["plan", str(file), "--json"]).output)["time"] is None


def test_time_grows_with_what_it_is_made_of(tmp_path: Path) -> None:
    chosen = load_settings({"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}})
    found = Speeds("cpu", 1.0, 10, 0.5, 256.0, 2.0, 0.25, 0.0, 0, None, in_turn=False)
    counts = Counts(answers(100, 300), Range(0, 0), 1, Range(100, 300), 10, Range(0, 200), 0)
    least, most = estimated(chosen, counts, found)
    assert least == pytest.approx(0.5 + 100 * 0.5 * 0.5)
    longest = min(2.0, chosen.sampling.max_new_tokens / 256)
    answering = (300 + 100) * 0.5 * longest * 1.6
    learning = (10 * 2.0 + 200 * chosen.training.epochs * longest * 0.25) * 1.6
    assert most == pytest.approx(60 + 3 + answering + learning)
    slow = estimated(chosen, counts, replace(found, verdict=1.0))
    assert slow[0] >= least and slow[1] == pytest.approx(most + 300 * 1.6)
    on_one_cpu = estimated(chosen, counts, replace(found, verdict=1.0, in_turn=True))
    assert on_one_cpu == pytest.approx((least + 100 * 0.5, slow[1]))
    shown = estimated(chosen, replace(counts, shown=Range(20, 20)), found)
    assert shown == pytest.approx((least + 20 * 0.5 * 0.5, most + 20 * 0.5 * longest * 1.6)), (
        "answered, and never judged"
    )


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(0, 0), "$0"),
        (Money(0.0004, 0.012), "$0.0004 to $0.012"),
        (Money(0.4, 12.3), "$0.40 to $12"),
        (Money(1.26, 4321), "$1.26 to $4,321"),
    ],
)
def test_money_is_written_with_two_digits_that_count(money: Money, text: str) -> None:
    assert str(money) == text
