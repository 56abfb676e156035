"""What the doctor finds, and what it says to do."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import iteralign
from oracles import conftest as play

from iteralign.preflight import doctor
from iteralign.preflight.cost import Range
from iteralign.preflight.findings import Finding
from iteralign.preflight.memory import Memory, memory_of
from iteralign.preflight.plan import make_plan
from iteralign.settings.oracle import OracleSettings
from iteralign.settings.settings import Settings, load_settings
from iteralign.weights.model import LocalModel

PROPOSAL = json.dumps({"principles": [{"text": "Decline to insult.", "category": "", "failures": [1]}]})
BASE: dict[str, Any] = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 20},
    "oracle": {"kind": "rules"},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", play.KEY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[play.Server]:
    one = play.Server()
    yield one
    one.shutdown()
    one.server_close()


def states(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.topic: finding.state for finding in findings}


def oracle(server: play.Server, **changes: Any) -> OracleSettings:
    endpoint = {
        "model": "tiny",
        "base_url": server.url,
        "api_key_env": "OPENAI_API_KEY",
        "max_retries": 0,
        "timeout": 5,
    }
    return OracleSettings.model_validate({"judge": endpoint} | changes)


def replies(judge: str, proposer: str) -> play.Play:
    """By what is asked."""

    def answer(handler: play.Handler, body: dict[str, Any]) -> None:
        wanted = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required", [])
        text = proposer if wanted in (["principles"], ["wish", "hurt"]) else judge
        play.text(text)(handler, body)

    return answer


def test_this_environment_is_sound() -> None:
    found = {finding.topic: finding for finding in doctor.check_environment()}
    assert {finding.state for finding in found.values()} <= {"ok", "warn"}, found
    assert "torch 2." in found["packages"].found and "float32" in found["device"].found


def test_a_wrong_version_and_a_missing_package_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=99", "no-such-package-here>=1", "pydantic>=2", "never>=1; extra == 'test'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: wanted)
    found = {finding.topic: finding for finding in doctor.check_environment()}
    assert found["torch"].state == "fail" and found["torch"].advice == "pip install 'torch>=99'"
    assert found["no-such-package-here"].found == "not installed"
    assert found["packages"].found.startswith("pydantic 2.") and "never" not in found


def test_a_package_that_does_not_import_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    found = {finding.topic: finding for finding in doctor.check_environment()}
    assert found["trl"].state == "fail" and "does not import" in found["trl"].found


def test_the_demo_model_is_fit() -> None:
    assert set(states(doctor.check_model(load_settings(BASE))).values()) == {"ok"}


def changed_model(tmp_path: Path, tiny: Path, name: str, **changes: Any) -> Settings:
    """A copy of the tiny model with other entries in its config.json."""
    place = tmp_path / name
    shutil.copytree(tiny, place)
    values = json.loads((place / "config.json").read_text()) | changes
    (place / "config.json").write_text(json.dumps(values))
    return load_settings(BASE | {"model": {"path": str(place)}, "training": {"max_length": 64}})


def test_models_that_are_not_fit_say_why(tmp_path: Path, tiny_llama: Path) -> None:
    sound = changed_model(tmp_path, tiny_llama, "sound")
    assert set(states(doctor.check_model(sound)).values()) == {"ok"}
    small = changed_model(tmp_path, tiny_llama, "small", vocab_size=100)
    assert states(doctor.check_model(small))["tokenizer fits"] == "fail"
    code = {"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}, "model_type": "own"}
    own = changed_model(tmp_path, tiny_llama, "own", **code)
    for name in ("AutoTokenizer", "x"):
        (tmp_path / "own" / f"{name}.py").write_text("raise SystemExit('ran')")
    (finding,) = (one for one in doctor.check_model(own) if one.state == "fail")
    assert "trust_remote_code" in finding.found
    (tmp_path / "sound" / "model.safetensors").unlink()
    assert states(doctor.check_model(sound))["weights"] == "fail"
    long = sound.model_copy(update={"training": sound.training.model_copy(update={"max_length": 1000})})
    assert states(doctor.check_model(long))["context"] == "fail"
    for wrong in (tmp_path, tmp_path / "nowhere"):
        settings = load_settings(BASE | {"model": {"path": str(wrong)}})
        assert states(doctor.check_model(settings))["model"] == "fail"


def test_strange_tensors_and_a_template_that_raises_are_found(tmp_path: Path, tiny_llama: Path) -> None:
    narrow = changed_model(tmp_path, tiny_llama, "narrow", intermediate_size=32)
    (finding,) = (one for one in doctor.check_model(narrow) if one.state == "fail")
    assert "have another shape than config.json says" in finding.found
    settings = changed_model(tmp_path, tiny_llama, "raises")
    (tmp_path / "raises" / "chat_template.jinja").write_text("{{ raise_exception('Not to you') }}")
    chat = settings.model_copy(update={"form": settings.form.model_copy(update={"name": "chat"})})
    (finding,) = (one for one in doctor.examine(chat) if one.state == "fail")
    assert "chat template" in finding.found and "Not to you" in finding.found


@pytest.mark.parametrize(
    ("processes", "process", "host", "expected"),
    [
        (1, 30, 1, {"memory": "ok", "memory, answering": "ok", "machine memory": "ok"}),
        (2, 30, 1, {"memory": "fail", "memory, answering": "ok", "machine memory": "ok"}),
        (2, 10, 10**9, {"memory": "ok", "memory, answering": "ok", "machine memory": "fail"}),
        (3, 1, 1, {"memory": "fail"}),
    ],
)
def test_each_gpu_and_the_machine_are_held_against_the_plan(
    monkeypatch: pytest.MonkeyPatch, processes: int, process: int, host: int, expected: dict[str, str]
) -> None:
    """Two GPUs, the second with less free."""
    settings = load_settings(BASE, [f"training.processes={processes}"])
    plan = dataclasses.replace(make_plan(settings), process_bytes=process * 2**30, host_bytes=host * 2**30)
    monkeypatch.setattr(LocalModel, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ([80 * 2**30, 20 * 2**30][number], 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "H100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    found = states(doctor.check_plan(settings, plan))
    assert {topic: found[topic] for topic in found if "memory" in topic} == expected


def test_every_gpu_with_a_replica_is_held_against_what_answers_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second GPU, on which nothing trains, has 20 GiB free."""
    plan = dataclasses.replace(make_plan(load_settings(BASE)), answering_bytes=30 * 2**30)
    monkeypatch.setattr(LocalModel, "device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ([80 * 2**30, 20 * 2**30][number], 80 * 2**30))
    for chosen, state in (([], "ok"), (["cluster.address=local", "cluster.replicas=2"], "fail")):
        found = states(doctor.check_plan(load_settings(BASE, chosen), plan))
        assert (found["memory"], found["memory, answering"]) == ("ok", state)
    elsewhere = load_settings(BASE, ["cluster.address=auto", "cluster.replicas=2"])
    assert "memory, answering" not in states(doctor.check_plan(elsewhere, plan))


@pytest.mark.parametrize(
    ("recipe", "billions", "most"),
    [
        ("8-gpu-full.yaml", 7.6, 20),
        ("8-gpu-lora.yaml", 32.8, 12),
        ("2-node-70b-lora.yaml", 72.7, 12),
        ("single-gpu-lora.yaml", 7.6, 20),
    ],
)
def test_what_a_recipe_trains_with_fits_its_gpus(recipe: str, billions: float, most: int) -> None:
    settings = load_settings(Path(__file__).parents[2] / "recipes" / recipe)
    full, parameters = settings.training.method == "full", int(billions * 10**9)
    trained = parameters if full else 10**8
    need = memory_of(settings, "cuda", parameters=parameters, trained=trained, width=4 if full else 2, generating=2)
    assert need.process < most * 2**30


def test_what_each_process_and_the_machine_need_is_computed() -> None:
    def memory(*chosen: str, device: str = "cuda") -> Memory:
        settings = load_settings(BASE, chosen)
        full = settings.training.method == "full"
        sizes = {"parameters": 7 * 10**9, "trained": 7 * 10**9 if full else 10**7, "width": 4 if full else 2}
        return memory_of(settings, device, **sizes, generating=2, cached=100, context=1000)

    alone, shared = memory("training.method=full"), memory("training.method=full", "training.processes=8")
    assert alone.process == alone.training == shared.training == 112 * 10**9 and shared.process == 14 * 10**9
    copies = memory("training.method=full", "training.processes=8", "training.sharded=false")
    assert copies.process == alone.process and copies.training == 8 * alone.training
    lora = memory("training.processes=8")
    assert lora.process == 14 * 10**9 / 8 + 16 * 10**7
    assert memory().host == 0 and memory("model.engine=vllm").host == 28 * 10**9
    assert memory(device="cpu").host == memory(device="cpu").training
    assert memory().answering == 14 * 10**9
    engine = ["model.engine=vllm", "cluster.address=local", "cluster.replicas=4", "cluster.tensor_parallel=2"]
    four = memory(*engine)
    assert four.host == (1 + 4) * 14 * 10**9 + 4 * 2**31  # each sleeps with its own, beside the trainer's
    assert four.answering == (14 * 10**9 + 2**30 + 256 * 1000 * 2 * 100) / 2
    turns = memory(*engine, "cluster.training_gpus=8")
    assert turns.process == lora.process
    assert turns.host == 4 * 14 * 10**9 + (8 + 4) * 2**31 + 2**30  # what sleeps, what trains, what is written
    assert memory(*engine, "cluster.address=auto", "cluster.training_gpus=8").host == 0
    assert memory("model.engine=served", "model.served.base_urls=[http://127.0.0.1:9/v1]").answering == 0


def test_memory_and_disk_are_held_against_the_plan() -> None:
    settings = load_settings(BASE)
    plan = make_plan(settings)
    assert set(states(doctor.check_plan(settings, plan)).values()) == {"ok"}
    huge = plan.__class__(**(vars(plan) | {"host_bytes": 10**18, "disk_bytes": Range(10**18, 10**19)}))
    assert states(doctor.check_plan(settings, huge)) == {"prompts": "ok", "memory": "fail", "disk": "fail"}
    wide = plan.__class__(**(vars(plan) | {"disk_bytes": Range(1, 10**19), "too_long": ["a"]}))
    assert states(doctor.check_plan(settings, wide)) == {"prompts": "warn", "memory": "ok", "disk": "warn"}


def test_a_good_oracle_is_asked_for_real_and_not_from_the_cache(server: play.Server) -> None:
    server.usual = replies(play.judgement(), PROPOSAL)
    for _ in range(2):
        found = list(doctor.check_oracle(oracle(server, proposer={"model": "other", "base_url": server.url})))
        assert [(one.topic, one.state) for one in found] == [("judge", "ok"), ("proposer", "ok"), ("prices", "warn")]
    assert (len(server.probes), len(server.requests)) == (4, 4)
    assert (
        "structured output: json_schema" in found[0].found
        and "token counts reported, cached tokens not reported" in found[0].found
    )
    assert "other, tiny" in found[2].found


@pytest.mark.parametrize(
    ("judge", "proposer", "expected"),
    [
        ("prose", PROPOSAL, ["fail", "fail"]),
        (play.judgement(False), PROPOSAL, ["warn", "ok"]),
        (play.judgement(), "prose", ["ok", "fail"]),
        (play.judgement(), '{"principles": []}', ["ok", "warn"]),
        (play.judgement(), PROPOSAL.replace("Decline to insult", "Be honest"), ["ok", "warn"]),
    ],
)
def test_an_oracle_that_can_not_do_it_is_found(
    judge: str, proposer: str, expected: list[str], server: play.Server
) -> None:
    server.usual = replies(judge, proposer)
    found = list(doctor.check_oracle(oracle(server)))
    assert [one.state for one in found[:2]] == expected
    assert all(one.advice for one in found[:2] if one.state != "ok")


@pytest.mark.parametrize(
    ("hurt", "state", "told"),
    [
        ("the neighbour", "ok", "proposes; "),
        ("nobody", "warn", "nothing that can be used (by the proposer's own words it hurts nobody)"),
    ],
)
def test_a_proposer_in_parts_is_asked_for_parts(hurt: str, state: str, told: str, server: play.Server) -> None:
    server.usual = replies(play.judgement(), json.dumps({"wish": "break into a house", "hurt": hurt}))
    _, proposer, _ = doctor.check_oracle(oracle(server, proposals="parts"))
    assert proposer.state == state and told in proposer.found


@pytest.mark.parametrize(("said", "state"), [("safe", "ok"), ("unsafe\nS1", "warn"), ("Sure!", "warn")])
def test_a_guard_judges_a_plain_answer_or_is_looked_at(
    said: str, state: str, server: play.Server, tiny_llama: Path
) -> None:
    server.usual = play.text(said)
    guards = [
        {"family": "llama-guard", "model": "g", "base_url": server.url},
        {"family": "harmbench", "model": str(tiny_llama)},
        {"family": "harmbench", "model": "./absent"},
    ]
    found = list(doctor.check_oracle(OracleSettings.model_validate({"kind": "rules", "guards": guards})))
    assert [finding.state for finding in found] == [state, "warn", "fail", "warn"]
    assert "not asked here" in found[1].found and "no such directory" in found[2].found + found[2].advice


def test_a_key_that_is_refused_fails_once(server: play.Server) -> None:
    server.usual = play.status(401, f"bad key {play.KEY}")
    found = list(doctor.check_oracle(oracle(server, cost_budget=1.0)))
    assert [one.state for one in found] == ["fail", "fail", "fail"]
    assert len(server.probes) == 1 and play.KEY not in str(found)
    assert "cost_budget" in found[2].advice


def test_an_endpoint_without_structured_output_is_named(server: play.Server) -> None:
    def plain(handler: play.Handler, body: dict[str, Any]) -> None:
        if "response_format" in body:
            return play.status(422, "extra fields not permitted")(handler, body)
        return play.text(PROPOSAL if "Failure 1" in str(body) else play.judgement())(handler, body)

    server.usual = plain
    found = list(doctor.check_oracle(oracle(server)))
    assert [one.state for one in found[:2]] == ["ok", "ok"]
    assert all("structured output: none" in one.found for one in found[:2])


def test_an_unusable_cache_is_a_warning(tmp_path: Path) -> None:
    assert states(doctor.check_cache()) == {"reply cache": "ok"}
    (tmp_path / "cache" / "iteralign" / "replies.sqlite").write_bytes(b"no database" * 100)
    assert states(doctor.check_cache()) == {"reply cache": "warn"}


def test_the_command_prints_a_line_each_and_sets_the_exit_code(tmp_path: Path) -> None:
    alone = iteralign("doctor")
    assert alone.returncode == 0 and "0 failures" in alone.stdout, alone.stdout
    assert "tokenizer" not in [line.split()[1] for line in alone.stdout.splitlines() if line.split()]
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(BASE | {"model": {"path": "./nowhere"}}))
    bad = iteralign("doctor", str(config))
    assert bad.returncode == 1 and "fail model" in bad.stdout and "1 failure" in bad.stdout and not bad.stderr
    config.write_text(json.dumps(BASE | {"modle": 1}))
    assert iteralign("doctor", str(config)).returncode == 2


def test_a_judge_whose_replies_are_used_up_by_thinking_fails(server: play.Server) -> None:
    server.usual = play.text("", "length", reasoning_content="Let me think about it from the start.")
    other = {"model": "other", "base_url": server.url}
    judge, proposer, _ = doctor.check_oracle(oracle(server, proposer=other))
    assert (judge.state, proposer.state) == ("fail", "fail")
    assert "used up by thinking: raise oracle.judge.max_tokens or lower oracle.judge.reasoning_effort" in judge.found
    assert "thinks before it answers" in judge.found
    assert "raise oracle.proposer.max_tokens" in proposer.found


def test_a_teacher_beside_full_weights_takes_memory_of_its_own() -> None:
    def memory(*chosen: str) -> int:
        return make_plan(load_settings(BASE, chosen)).memory_bytes

    full = memory("training.method=full", "training.objective=dpo")
    parameters = make_plan(load_settings(BASE)).parameters
    assert memory("training.method=full", "training.objective=distill") == full + 4 * parameters
    assert memory("training.objective=distill") == memory("training.objective=sft"), (
        "beside an adapter it is there anyway"
    )
