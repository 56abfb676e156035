"""Principles that are put together out of what a small proposer says of one failure at a time."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from iteralign.errors import OracleReplyError
from iteralign.oracles.client import ChatClient
from iteralign.oracles.probability import ProbabilityOracle
from iteralign.prompts.fitness import LONGEST
from iteralign.records import Principle, Verdict
from iteralign.settings.oracle import OracleSettings

from . import conftest as play

Make = Callable[..., ChatClient]


def failure(question: str) -> Verdict:
    return Verdict(response=play.response(question, "Sure."), label="unacceptable", violations=("harmful",))


def said(wish: str, hurt: str = "the owner") -> play.Play:
    return play.text(json.dumps({"wish": wish, "hurt": hurt}))


def takes_the_wish(handler: play.Handler, body: dict[str, Any]) -> None:
    """A proposer that repeats what the question asks for."""
    found = re.search(r"How do I (.*)\?", body["messages"][0]["content"])
    said(f"They want to {found[1] if found else 'be ready'}.")(handler, body)


def proposed(make_client: Make, questions: Sequence[str], most: int = 4) -> list[Principle]:
    oracle = play.llm(make_client(), proposals="parts", max_principles=most)
    return oracle.propose([failure(question) for question in questions], [])


THEFT = [f"How do I steal a {thing}?" for thing in ("car", "boat", "bicycle")]
FORGERY = [f"How do I forge a {thing}?" for thing in ("diploma", "passport", "receipt")]


def test_a_rule_names_the_wishes_of_failures_that_are_alike(server: play.Server, make_client: Make) -> None:
    server.usual = takes_the_wish
    mixed = [question for pair in zip(THEFT, FORGERY, strict=True) for question in pair]
    theft, forgery = proposed(make_client, mixed)
    assert theft.text.startswith("Do not help anyone to steal a car, ") and " or steal a " in theft.text
    assert "since the owner would be harmed" in theft.text, "told once"
    assert len(theft.evidence) == len(forgery.evidence) == 3 and not {*theft.evidence} & {*forgery.evidence}
    assert len(server.requests) == len(mixed), "one call for each failure"


def test_there_are_no_more_rules_than_asked_for_and_each_failure_has_one(
    server: play.Server, make_client: Make
) -> None:
    server.usual = takes_the_wish
    (only,) = proposed(make_client, THEFT + FORGERY, most=1)
    assert len(only.evidence) == 6 and only.text.count("steal") + only.text.count("forge") == 3


def test_a_long_rule_names_fewer_wishes(server: play.Server, make_client: Make) -> None:
    server.usual = said("steal " + "very " * 22 + "much", "owners " * 16)
    server.script = [said(f"steal {'very ' * 20} {thing}", f"{'owners ' * 14} {thing}") for thing in "abc"]
    (rule,) = proposed(make_client, THEFT)
    assert len(rule.text) <= LONGEST and len(rule.evidence) == 3


@pytest.mark.parametrize("hurt", ["nobody", "None.", "No one"])
def test_a_question_that_hurts_nobody_leads_to_no_rule(hurt: str, server: play.Server, make_client: Make) -> None:
    server.script = [said("bake bread", hurt), said("steal a car")]
    good, harmless = proposed(make_client, ["How do I bake bread?", THEFT[0]])
    assert good.status == "proposed" and "bread" not in good.text and len(good.evidence) == 1
    assert harmless.status == "rejected" and "hurts nobody" in harmless.history[-1].reason


def test_a_reply_that_can_t_be_used_is_asked_for_once_more(server: play.Server, make_client: Make) -> None:
    server.script = [said("steal " * 30), said("Steal a car", "Owners.")]
    (rule,) = proposed(make_client, THEFT[:1])
    assert "anyone to steal a car:" in rule.text and "since owners would" in rule.text
    assert "wish: it must have at most 120 characters" in server.requests[1]["messages"][2]["content"]


def test_of_many_who_are_hurt_the_first_are_named(server: play.Server, make_client: Make) -> None:
    named = [f"the owners of {number} shops" for number in range(9)]
    server.script = [said("rob a street", ", ".join(named)), said("rob a street", "owners " * 30), said("rob", "shops")]
    (rule,) = proposed(make_client, THEFT[:1])
    assert f"since {', '.join(named[:5])} would" in rule.text and len(server.requests) == 1
    (rule,) = proposed(make_client, THEFT[1:2])
    assert "since shops would" in rule.text
    assert "hurt: it must have at most 120 characters" in server.requests[2]["messages"][2]["content"]


def test_one_that_stays_unreadable_costs_the_others_nothing(
    server: play.Server, make_client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [play.text("I would rather not."), said("steal a boat"), play.text("No."), play.text("No.")]
    (rule,) = proposed(make_client, THEFT[:2])
    assert len(rule.evidence) == 1 and "One of 2 failures" in caplog.text
    server.usual = play.text("No.")
    with pytest.raises(OracleReplyError, match="no readable parts of a principle for 1 failures"):
        proposed(make_client, FORGERY[:1])


def test_faults_other_than_harm_are_left_to_the_other_way(
    server: play.Server, make_client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.usual = said("steal a car")
    untrue = failure("Is the earth flat?").model_copy(update={"violations": ("dishonest",)})
    oracle = play.llm(make_client(), proposals="parts")
    (rule,) = oracle.propose([failure(THEFT[0]), untrue], [])
    assert len(rule.evidence) == 1 and "1 of 2 failures are of another kind than harm" in caplog.text
    assert oracle.propose([untrue], []) == [] and len(server.requests) == 1


def test_an_empty_wish_is_rejected_as_any_empty_principle(server: play.Server, make_client: Make) -> None:
    server.usual = said("be harmful", "people")
    (rule,) = proposed(make_client, THEFT[:1])
    assert rule.status == "rejected" and "good behaviour in general" in rule.history[-1].reason


def test_rules_of_one_form_are_not_compared(server: play.Server, make_client: Make) -> None:
    server.script = [said("steal a car"), said("forge a diploma")]
    (one,), (other,) = proposed(make_client, THEFT[:1]), proposed(make_client, FORGERY[:1])
    oracle = play.llm(make_client(), proposals="parts")
    assert oracle.relate([(one, other)]) == ["different"] and len(server.requests) == 2


def test_the_judge_of_one_token_is_not_asked_for_reasons(server: play.Server, make_client: Make) -> None:
    server.usual = said("steal a car")
    settings = {"proposals": "parts", "judge": {"model": "tiny", "base_url": server.url, "method": "probability"}}
    oracle = ProbabilityOracle(OracleSettings.model_validate(settings), make_client())
    (rule,) = oracle.propose([failure(THEFT[0])], [])
    assert rule.status == "proposed" and len(server.requests) == 1
