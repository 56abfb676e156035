"""OPENAI_BASE_URL: who has it set gets what users of the openai package expect, and a run keeps to what it began with."""

from pathlib import Path
from typing import Any

import pytest
from oracles import conftest as play
from oracles.test_whole_run import sensible

from iteralign import run
from iteralign.errors import ConfigError, OracleAccessError, OracleError, RunDirectoryError
from iteralign.fakes import FakeTarget, FakeTrainer
from iteralign.preflight.doctor import check_oracle
from iteralign.preflight.plan import make_plan
from iteralign.runs.parts import build_parts
from iteralign.runs.run import resume_run
from iteralign.settings.addresses import addressed, described, with_addresses
from iteralign.settings.oracle import OracleSettings
from iteralign.settings.settings import Settings, load_settings

SETTINGS: dict[str, Any] = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign": None},
    "oracle": {"judge": {"model": "tiny", "max_retries": 0}, "cache": False},
}
ELSEWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor an address from whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Any:
    one = play.Server()
    one.usual = sensible
    yield one
    one.shutdown()
    one.server_close()


def oracle(**values: Any) -> OracleSettings:
    return OracleSettings.model_validate({"judge": {"model": "j"}} | values)


def started(settings: Settings, directory: Path) -> None:
    run(settings, directory, target=FakeTarget(), trainer=FakeTrainer(directory))


def test_the_variable_fills_in_what_the_settings_leave_open(monkeypatch: pytest.MonkeyPatch) -> None:
    given = oracle(
        panel=[{"model": "p"}, {"model": "q", "base_url": "http://own/v1"}],
        proposer={"model": "r"},
        guards=[{"family": "llama-guard", "model": "g"}],
    )
    assert addressed(given) == given
    monkeypatch.setenv("OPENAI_BASE_URL", ELSEWHERE + "/")
    there = addressed(given)
    assert there.judge is not None and there.proposer is not None
    assert [one.base_url for one in (there.judge, *there.panel, there.proposer)] == [
        *(ELSEWHERE, ELSEWHERE, "http://own/v1", ELSEWHERE),
    ]
    assert there.guards == given.guards, "a guard without an address is loaded here"
    assert addressed(oracle(kind="rules", judge=None)).judge is None


def test_it_may_stand_in_the_same_file_as_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY=sk-test\nOPENAI_BASE_URL={ELSEWHERE}\n")
    judge = addressed(oracle()).judge
    assert judge is not None and judge.base_url == ELSEWHERE
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment/v1")
    judge = addressed(oracle()).judge
    assert judge is not None and judge.base_url == "http://environment/v1", "the environment goes before the file"


def test_an_address_with_a_password_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:hunter22@host/v1")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL must be an address alone") as refused:
        with_addresses(load_settings(SETTINGS))
    assert "hunter22" not in str(refused.value)


def test_the_address_is_recorded_and_a_resumed_run_asks_there(
    server: play.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key is wanted for an address that is not OpenAI's; another value of the variable changes nothing later."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.usual = lambda handler, body: (sensible if len(server.requests) < 6 else play.status(503))(handler, body)
    with pytest.raises(OracleError):
        started(load_settings(SETTINGS), tmp_path / "run")
    recorded = load_settings(tmp_path / "run" / "config.yaml")
    assert recorded.oracle.judge is not None and recorded.oracle.judge.base_url == server.url
    server.usual, before = sensible, len(server.requests)
    monkeypatch.setenv("OPENAI_BASE_URL", ELSEWHERE)
    parts = build_parts(recorded, tmp_path / "run", target=FakeTarget(), trainer=FakeTrainer(tmp_path / "run"))
    assert resume_run(tmp_path / "run", parts=parts).metrics
    assert len(server.requests) > before


def test_a_run_called_again_with_another_address_is_refused(
    server: play.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    started(load_settings(SETTINGS), tmp_path / "run")
    started(load_settings(SETTINGS), tmp_path / "run")
    monkeypatch.setenv("OPENAI_BASE_URL", ELSEWHERE)
    with pytest.raises(RunDirectoryError, match=r"oracle\.judge\.base_url"):
        started(load_settings(SETTINGS), tmp_path / "run")


def test_without_the_variable_it_is_openai_which_wants_a_key(tmp_path: Path) -> None:
    with pytest.raises(OracleAccessError, match=r"api\.openai\.com"):
        started(load_settings(SETTINGS), tmp_path / "run")


def test_plan_and_doctor_say_where_and_why(server: play.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(SETTINGS)
    assert settings.oracle.judge is not None
    assert described(settings.oracle.judge) == "tiny at https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    why = f"tiny at {server.url} (OPENAI_BASE_URL)"
    assert f"oracle: {why}" in make_plan(settings).notes
    found = {finding.topic: finding for finding in check_oracle(settings.oracle)}
    assert why in found["judge"].found and found["judge"].state != "fail"


def test_the_doctor_finds_a_variable_that_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1?key=1")
    findings = list(check_oracle(oracle()))
    assert findings[0].state == "fail" and "OPENAI_BASE_URL must be" in findings[0].found
