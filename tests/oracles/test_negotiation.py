"""What an endpoint takes is found out at the first contact, whatever status it refuses with, and remembered."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import OracleAccessError
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.oracles.llm import LLMOracle
from iteralign.oracles.negotiation import LADDER, Dialect, Dialects
from iteralign.report.tables import endpoints
from iteralign.runs.build import build_oracle
from iteralign.settings.oracle import OracleSettings

from . import conftest as play

Make = Callable[..., ChatClient]


def form_of(body: dict[str, Any]) -> str:
    asked = body.get("response_format", {"type": "plain"})
    return "json_object with schema" if "schema" in asked else str(asked["type"])


def taking(*forms: str, otherwise: play.Play, said: str = play.PROBED) -> play.Play:
    """A server that takes these forms and obeys them; others it answers as `otherwise` says."""

    def answer(handler: play.Handler, body: dict[str, Any]) -> None:
        form = form_of(body)
        if form not in (*forms, "plain"):
            return otherwise(handler, body)
        content = said if play.is_probe(body) and form != "plain" else play.judgement()
        return handler.send(play.chat_body(content))

    return answer


def asked_forms(server: play.Server) -> list[str]:
    return [form_of(body) for body in server.probes]


@pytest.mark.parametrize("code", [400, 404, 415, 422, 500, 501, 503])
@pytest.mark.parametrize("form", LADDER)
def test_a_form_is_found_whatever_the_refusal(code: int, form: str, server: play.Server, make_client: Make) -> None:
    server.usual = taking(form, otherwise=play.status(code, "Input should be something else"))
    client = make_client()
    oracle = play.llm(client)
    oracle.check()
    assert client.dialect.structure == form
    assert client.dialect.obeyed is (None if form == "plain" else True)
    (verdict,) = oracle.judge([play.response("q", "a")])
    assert verdict.label == "acceptable"
    assert [form_of(body) for body in server.requests] == [form]


def test_a_passing_overload_does_not_switch_the_form_off(server: play.Server, make_client: Make) -> None:
    seen: list[str] = []

    def overloaded_once(handler: play.Handler, body: dict[str, Any]) -> None:
        seen.append(form_of(body))
        (play.status(503) if len(seen) == 1 else taking(*LADDER, otherwise=play.status(500)))(handler, body)

    server.usual = overloaded_once
    client = make_client()
    client.check()
    assert seen == ["json_schema", "json_object with schema", "json_schema"]
    assert client.dialect.structure == "json_schema" and client.dialect.obeyed


def test_an_overload_of_all_is_waited_for(server: play.Server, make_client: Make) -> None:
    count = [0]

    def overloaded(handler: play.Handler, body: dict[str, Any]) -> None:
        count[0] += 1
        (play.status(503) if count[0] <= 9 else play.text("ready"))(handler, body)

    server.usual = overloaded
    client = make_client()
    client.check()
    assert client.dialect.structure == "json_schema"


def test_a_form_that_is_ignored_without_a_word_is_not_counted_on(server: play.Server, make_client: Make) -> None:
    server.usual = lambda handler, body: handler.send(play.chat_body("Sure, I am ready."))
    client = make_client()
    client.check()
    assert asked_forms(server) == list(LADDER) and client.dialect.structure == "plain"
    assert "parsed strictly" in client.dialect.described()


def test_json_without_the_schema_is_told_from_the_schema(server: play.Server, make_client: Make) -> None:
    server.usual = taking(*LADDER, otherwise=play.status(400), said='{"status": "ready"}')
    client = make_client()
    client.check()
    assert client.dialect.structure == "json_object" and client.dialect.obeyed


def test_what_was_found_is_remembered_in_a_file(server: play.Server, make_client: Make, tmp_path: Path) -> None:
    path = tmp_path / "oracle" / "endpoints.json"
    server.usual = taking("json_object", otherwise=play.status(500), said="{}")
    make_client(dialects=Dialects(path)).check()
    (row,) = json.loads(path.read_text())
    assert row["structure"] == "json_object" and row["base_url"] == server.url and row["asked_for"] == "tiny"
    server.probes.clear()
    resumed = make_client(dialects=Dialects(path))
    assert resumed.dialect.structure == "json_object"
    resumed.check()
    assert asked_forms(server) == ["json_object"]
    server.usual = taking("json_schema", otherwise=play.status(400))  # another server took its place
    changed = make_client(dialects=Dialects(path))
    changed.check()
    assert changed.dialect.structure == "json_schema"


@pytest.mark.parametrize("content", ["", "null", "[1]", '[{"base_url": 1}]', '[{"structure": "xml"}]', "\udcff"])
def test_a_file_that_is_none_is_found_out_anew(content: str, tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert Dialects(path).get("http://x/v1", "tiny") is None
    Dialects(path).put("http://x/v1", "tiny", Dialect("plain"))
    assert Dialects(path).get("http://x/v1", "tiny") == Dialect("plain")


def test_two_clients_of_one_endpoint_negotiate_once(server: play.Server, make_client: Make) -> None:
    server.usual = taking("json_object", otherwise=play.status(500), said="{}")
    dialects = Dialects()
    for _ in range(2):
        make_client(dialects=dialects).check()
    assert asked_forms(server)[-1] == "json_object" and asked_forms(server).count("json_object") == 2


def test_a_request_that_the_form_does_not_fit_is_answered_without_it(server: play.Server, make_client: Make) -> None:
    def picky(handler: play.Handler, body: dict[str, Any]) -> None:
        odd = "odd" in str(body["messages"]) and "response_format" in body
        (play.status(400, "failed to build a grammar") if odd else play.text("fine"))(handler, body)

    server.usual = picky
    client = make_client(concurrency=1)
    replies = client.complete([ChatRequest((Message("user", text),), 512, schema={}) for text in ("odd", "even")])
    assert [reply.text for reply in replies] == ["fine", "fine"]
    assert client.dialect.structure == "json_schema", "it was seen at work"


@pytest.mark.parametrize(
    "words", ["Unrecognized request argument supplied: reasoning_effort", 'think value "low" is not supported']
)
def test_a_refused_reasoning_effort_names_the_setting(words: str, server: play.Server, make_client: Make) -> None:
    server.usual = play.status(400, words)
    with pytest.raises(OracleAccessError, match=r"oracle.proposer.reasoning_effort: low"):
        make_client(reasoning_effort="low", section="oracle.proposer").check()
    assert server.probes[0]["reasoning_effort"] == "low" and len(server.probes) == 1


def test_reasoning_effort_is_sent_only_where_it_is_set_and_belongs_to_the_reply(
    server: play.Server, make_client: Make
) -> None:
    one = ChatRequest((Message("user", "a"),), 512)
    client, thinker = make_client(), make_client(reasoning_effort="high")
    client.complete([one])
    thinker.complete([one])
    assert "reasoning_effort" not in server.requests[0] and server.requests[1]["reasoning_effort"] == "high"
    assert client.key(one) != thinker.key(one) != make_client(reasoning_effort="low").key(one)


def test_the_key_of_a_request_is_as_it_was(make_client: Make) -> None:
    """Replies in people's caches are found by it."""
    one = ChatRequest((Message("user", "a"),), 5, schema={"type": "object"})
    assert make_client(base_url="http://127.0.0.1:1/v1").key(one) == (
        "a687c9fd8b1145bc15b8662511e882080e50b7893c76cfb2db5832d49249a4b3"
    )


def test_the_older_form_of_azures_addresses_is_told() -> None:
    from pydantic import ValidationError

    from iteralign.settings.oracle import EndpointSettings

    older = "https://me.openai.azure.com/openai/deployments/judge?api-version=2024-10-21"
    with pytest.raises(ValidationError, match=r"openai\.azure\.com/openai/v1/"):
        EndpointSettings(model="judge", base_url=older)


def test_a_resumed_run_asks_as_it_did_and_its_report_says_how(server: play.Server, tmp_path: Path) -> None:
    settings = OracleSettings.model_validate({"judge": {"model": "tiny", "base_url": server.url}})
    server.usual = taking("json_object with schema", otherwise=play.status(500))
    for attempt in range(2):
        server.probes.clear()
        oracle = build_oracle(settings, 0, tmp_path)
        assert isinstance(oracle, LLMOracle)
        oracle.check()
        forms = ["json_schema", "json_object with schema", "json_schema"]
        assert asked_forms(server) == (["json_object with schema"] if attempt else forms)
    said = f"tiny at {server.url}, structured output: json_object with schema"
    assert endpoints(tmp_path / "oracle" / "endpoints.json") == [said]
    assert endpoints(tmp_path / "nowhere.json") == []
