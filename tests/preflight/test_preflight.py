"""What would stop a run before its first round: `plan` and `run` say the same of it, and nothing is left behind."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file

from iteralign import run
from iteralign.cli.app import app
from iteralign.errors import ConfigError, IteralignError, MissingExtraError, RunDirectoryError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.preflight.plan import make_plan
from iteralign.prompts.forms import prompt_form
from iteralign.rundir.directory import RunDirectory
from iteralign.runs import prompt_sets
from iteralign.settings.settings import Settings, load_settings
from iteralign.targets.tokens import encoded
from iteralign.weights.gguf import GGUF
from iteralign.weights.model import LocalModel

JUDGE = {"model": "gpt-4o-mini"}
LOCAL = {"model": "tiny", "base_url": "http://127.0.0.1:9/v1"}
OPENAI = "https://api.openai.com/v1"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_llama: Path) -> Path:
    """A machine without GPU, key and extras; `llama` is a model without chat template and with a context of 128."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ABSENT_KEY"):
        monkeypatch.delenv(variable, raising=False)
    for package in ("sentence_transformers", "vllm", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("llama").symlink_to(tiny_llama)
    Path("seq2seq").mkdir()
    Path("seq2seq/config.json").write_text('{"model_type": "t5"}')
    for file in tiny_llama.glob("tokenizer*"):
        Path("seq2seq", file.name).write_bytes(file.read_bytes())
    for name, file_name, text in (
        ("bare", "model.safetensors", ""),
        ("raises", "chat_template.jinja", "{{ raise_exception('Only the system may speak') }}"),
        ("unparsed", "chat_template.jinja", "{% for m in %}"),
        ("undefined", "chat_template.jinja", "{{ messages[0].parts.text }}"),
    ):
        shutil.copytree(tiny_llama, name)
        Path(name, file_name).write_text(text)
    extra = {"stray": torch.zeros(2)}
    shutil.copytree(tiny_llama, "stray")
    save_file(load_file(tiny_llama / "model.safetensors") | extra, "stray/model.safetensors", {"format": "pt"})
    Path("text.txt").write_text("A text.\n")
    Path("torn.gguf").write_bytes(b"GGUF\3\0\0\0")
    Path("bad.yaml").write_text("- [\n")
    return tmp_path


def settings(**sections: Any) -> str:
    usual = {
        "model": {"path": "demo"},
        "data": {"prompts": "demo", "limit": 6, "benign_limit": 4},
        "oracle": {"kind": "rules"},
        "sampling": {"max_new_tokens": 16},
    }
    Path("config.yaml").write_text(json.dumps(usual | sections))
    return "config.yaml"


def iteralign(*arguments: str) -> tuple[int, str]:
    """Exit code and message, as `main` would give them; any other exception fails the test."""
    try:
        code = typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    except IteralignError as error:
        return error.exit_code, str(error)
    return code or 0, ""


def guard(**values: Any) -> dict[str, Any]:
    return {"kind": "rules", "guards": [{"family": "harmbench", "model": "./llama"} | values]}


def judged(**values: Any) -> dict[str, Any]:
    return {"judge": LOCAL, **values}


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "vllm is not installed": ({"model": {"path": "demo", "engine": "vllm"}}, 2, "vLLM is not installed"),
    "vllm's Python": (
        {"model": {"path": "demo", "engine": "vllm", "vllm": {"python": "./absent"}}},
        2,
        "model.vllm.python: absent is no program",
    ),
    "device": ({"model": {"path": "demo", "device": "cuda"}}, 1, "device cuda"),
    "attention": ({"model": {"path": "./llama", "attention": "flash_attention_3", "dtype": "bfloat16"}}, 1, "network"),
    "no causal model": ({"model": {"path": "./seq2seq"}}, 1, "Can't load the network ./seq2seq"),
    "gguf": ({"model": {"path": "./torn.gguf"}}, 1, "cut short or damaged"),
    "chat": ({"model": {"path": "./llama"}, "form": {"name": "chat"}}, 2, "no chat template"),
    "a template that raises": (
        {"model": {"path": "./raises"}, "form": {"name": "chat"}},
        1,
        "Only the system may speak",
    ),
    "a template with a mistake": (
        {"model": {"path": "./unparsed"}, "form": {"name": "chat"}},
        1,
        "chat template of ./unp",
    ),
    "an undefined variable": (
        {"model": {"path": "./undefined"}, "form": {"name": "chat"}},
        1,
        "chat template of ./und",
    ),
    "no weights at all": ({"model": {"path": "./bare"}}, 1, "can't be read"),
    "a tensor too many": ({"model": {"path": "./stray"}}, 1, "no place in the model, so they would be left out: stray"),
    "context": ({"sampling": {"max_new_tokens": 100_000}}, 2, "No prompt fits"),
    "constitution": ({"constitution": {"file": "absent.yaml"}}, 2, "The constitution absent.yaml can't be read"),
    "embeddings": ({"constitution": {"embeddings": "any"}}, 2, "iteralign[embeddings]"),
    "capability": ({"measure": {"capability": "absent.txt"}}, 2, "measure.capability: absent.txt"),
    "tracker": ({"training": {"report_to": ["wandb"]}}, 2, "pip install wandb"),
    "prompts": ({"data": {"prompts": "./absent.csv"}}, 2, "absent.csv"),
    "benign": ({"data": {"prompts": "demo", "benign": "./absent.csv"}}, 2, "absent.csv"),
    "the judge's key": ({"oracle": {"judge": JUDGE}}, 1, "set the environment variable OPENAI_API_KEY"),
    "a panel judge's key": (
        {"oracle": judged(panel=[{**JUDGE, "base_url": OPENAI, "api_key_env": "ABSENT_KEY"}])},
        1,
        "ABSENT_KEY",
    ),
    "the proposer's key": (
        {"oracle": judged(proposer={**JUDGE, "base_url": OPENAI, "api_key_env": "ABSENT_KEY"})},
        1,
        "ABSENT_KEY",
    ),
    "a guard's key": ({"oracle": guard(base_url=OPENAI, api_key_env="ABSENT_KEY")}, 1, "ABSENT_KEY"),
    "a guard's path": ({"oracle": guard(model="./absent")}, 1, "There is no such directory"),
    "a guard's device": ({"oracle": guard(device="cuda")}, 1, "device cuda, asked for ./llama"),
    "a guard's template": ({"oracle": guard(family="llama-guard")}, 2, "guard's tokenizer has no chat template"),
    "a guard's policy": (
        {"oracle": guard(family="gpt-oss-safeguard", policy="absent.md")},
        2,
        "policy absent.md can't be read",
    ),
    "the judge's text": ({"oracle": judged(texts={"judge": "text.txt"})}, 2, "text.txt"),
    "the proposer's text": ({"oracle": judged(texts="absent")}, 2, "directory of texts absent"),
    "an address": ({"oracle": {"judge": {"model": "x", "base_url": "nonsense"}}}, 2, "base_url: must look like http"),
    "a port": ({"oracle": guard(base_url="http://127.0.0.1:x/v1")}, 2, "base_url: must look like http://host:port/v1"),
    "a target's address": (
        {"model": {"path": "demo", "engine": "served", "served": {"base_url": "127.0.0.1:80"}}},
        2,
        "model.served.base_url: must look like",
    ),
    "prices": ({"oracle": judged(prices_file="bad.yaml")}, 2, "The price table bad.yaml"),
    "prices that nobody needs": ({"oracle": {"kind": "rules", "prices_file": "absent.yaml"}}, 2, "absent.yaml"),
    "a budget without price": ({"oracle": judged(cost_budget=1.0)}, 2, "the price of tiny"),
}


@pytest.mark.parametrize("name", BAD)
def test_plan_and_run_refuse_the_same_in_the_same_words_and_leave_nothing(name: str) -> None:
    sections, code, message = BAD[name]
    config = settings(**sections)
    before = sorted(path for path in Path().rglob("*") if path.parts[0] != "cache")
    planned = iteralign("plan", config)
    assert planned[0] == code and message in planned[1]
    assert iteralign("run", config, "--run-dir", "r") == planned
    assert iteralign("run", config) == planned
    assert sorted(path for path in Path().rglob("*") if path.parts[0] != "cache") == before


@pytest.mark.parametrize("long", [f"{'a' * 300}", f"runs/{'ä' * 200}/r"])
def test_a_run_directory_whose_name_is_too_long(long: str) -> None:
    config = settings()
    for arguments in (
        ["plan", settings(run_dir=long)],
        ["run", config, "--run-dir", long],
        ["demo", "--run-dir", long],
    ):
        code, message = iteralign(*arguments)
        assert code == 1 and "a name in it is longer than 255 bytes" in message
    for command in ("resume", "status", "report", "verify", "card"):
        assert iteralign(command, long)[0]
    assert not Path("runs").exists()


def test_a_directory_that_is_taken_is_refused_first() -> None:
    Path("r").mkdir()
    Path("r/notes.txt").write_text("mine")
    config = settings(run_dir="r", constitution={"file": "absent.yaml"})
    assert iteralign("plan", config) == iteralign("run", config) == (1, iteralign("run", config)[1])
    assert "r is not an empty directory" in iteralign("plan", config)[1]
    assert [path.name for path in Path("r").iterdir()] == ["notes.txt"]


def test_a_place_that_can_not_be_written_is_refused_by_plan_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    for place in ("locked/runs/r", "text.txt/r"):
        config = settings(run_dir=place)
        code, said = iteralign("plan", config)
        assert code == 1 and f"{place} can't be made" in said and "--run-dir" in said
        assert iteralign("run", config) == (code, said)
    assert not list(Path("locked").iterdir())


def test_ctrl_c_before_a_run_began_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(settings: Settings) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prompt_sets, "build_prompts", interrupted)
    code, said = iteralign("run", settings(), "--run-dir", "r")
    assert code == 130 and "nothing was written" in said and "resume" not in said and not Path("r").exists()


def test_an_output_that_belongs_to_no_run_speaks_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, said = iteralign("schema", "-o", "schema.json")
    assert code == 1 and "schema.json can't be written: No space left" in said and "then do the same again" in said
    assert not list(Path().glob("schema.json*"))


def test_names_with_spaces_and_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert iteralign("init", "my [b] c.yaml", "--model", "m", "--prompts", "demo", "--judge", "rules")[0] == 0
    assert "iteralign plan 'my [b] c.yaml'" in capsys.readouterr().out
    assert "iteralign run 'my [b] c.yaml'" in Path("my [b] c.yaml").read_text()
    config = settings(rounds={"limit": 1}, data={"prompts": "demo", "limit": 2, "benign": None})
    assert iteralign("run", config, "--run-dir", "the [bold]run")[0] in (0, 5)
    assert "everything:   the [bold]run\n" in capsys.readouterr().out
    assert "`iteralign resume 'the [bold]run'`" in iteralign("run", config, "--run-dir", "the [bold]run")[1]


def test_judges_that_become_one_by_the_variable_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", LOCAL["base_url"])
    config = settings(oracle={"judge": {"model": "tiny"}, "panel": [LOCAL]})
    code, said = iteralign("plan", config)
    assert code == 2 and "names a judge twice" in said and "OPENAI_BASE_URL" in said
    assert iteralign("run", config, "--run-dir", "r") == (code, said) and not Path("r").exists()


@pytest.mark.parametrize("begin", [iteralign, None], ids=["command line", "python"])
def test_a_run_that_broke_off_before_it_began_is_begun_anew(begin: Callable[..., tuple[int, str]] | None) -> None:
    Path("given.yaml").write_text("[Be kind to people.]")
    unreachable = {**LOCAL, "max_retries": 0, "retry_seconds": 1}
    wrong = settings(oracle={"judge": unreachable}, constitution={"file": "given.yaml"})
    code, said = iteralign("run", wrong, "--run-dir", "r")
    assert code == 1 and "http://127.0.0.1:9/v1" in said
    Path("r/given_constitution.jsonl").write_text("")  # as if it had been killed a little later
    mended = settings(rounds={"limit": 1}, data={"prompts": "demo", "limit": 4, "benign_limit": 4})
    if begin is not None:
        code, said = begin("run", mended, "--run-dir", "r")
        assert code in (0, 5), said
    else:
        parts = {"target": FakeTarget(), "oracle": FakeOracle(), "trainer": FakeTrainer(Path("r"))}
        run(load_settings(mended), "r", **parts)  # type: ignore[arg-type]
    assert Path("r/metrics.jsonl").exists() and not Path("r/given_constitution.jsonl").exists()
    assert load_settings(Path("r/config.yaml")).oracle.kind == "rules"
    assert iteralign("verify", "r") == (0, "")
    code, said = iteralign("run", settings(seed=1), "--run-dir", "r")
    assert code == 1 and "holds a run already. Its settings differ" in said


def test_what_is_not_a_runs_own_is_never_taken_for_a_beginning() -> None:
    chosen = load_settings(settings())
    with RunDirectory.create(Path("r"), chosen):
        pass
    Path("r/notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="not an empty directory"), RunDirectory.create(Path("r"), chosen):
        pass
    Path("own").mkdir()
    Path("own/config.yaml").write_text("{}")
    with pytest.raises(RunDirectoryError, match="not an empty directory"), RunDirectory.create(Path("own"), chosen):
        pass


def test_parts_of_ones_own_are_not_asked_what_they_do_not_need() -> None:
    chosen = load_settings(
        settings(
            model={"path": "./absent", "engine": "served", "device": "cuda"},
            oracle={"judge": JUDGE, "prices_file": "absent.yaml", "guards": guard(model="./absent")["guards"]},
            sampling={"max_new_tokens": 100_000},
        )
    )
    done = run(chosen, "r", target=FakeTarget(), oracle=FakeOracle(), trainer=FakeTrainer(Path("r")))
    assert len(done.metrics) > 1
    for missing in ("target", "oracle"):
        parts = {"target": FakeTarget(), "oracle": FakeOracle(), "trainer": FakeTrainer(Path("r2"))}
        with pytest.raises(IteralignError):
            run(chosen, "r2", **{name: part for name, part in parts.items() if name != missing})  # type: ignore[arg-type]
        assert not Path("r2").exists()


def test_a_gguf_without_its_package_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match="pip install gguf"):
        GGUF("./torn.gguf").description()


def test_a_plan_is_made_of_what_was_checked() -> None:
    with pytest.raises(ConfigError, match="No prompt fits"):
        make_plan(load_settings(settings(sampling={"max_new_tokens": 100_000})))
    assert make_plan(load_settings(settings())).parameters > 0


@pytest.mark.parametrize("letter", ["x", "é"])
def test_prompts_that_are_too_long_are_named_whether_their_length_tells_or_not(letter: str) -> None:
    """The model's context has 128 tokens, of a byte each, and an answer 40."""
    lengths = [5, 12, 24, 28, 32, 36, 300]
    Path("long.txt").write_text("".join(f"{(letter + ' ') * length}{length}\n" for length in lengths))
    chosen = load_settings(
        {
            "model": {"path": "llama"},
            "data": {"prompts": "long.txt", "held_out": 0.0, "benign": None},
            "oracle": {"kind": "rules"},
            "sampling": {"max_new_tokens": 40},
        }
    )
    found = make_plan(chosen)
    model = LocalModel("llama", root=Path())
    sets = prompt_sets.build_prompts(chosen)
    texts = [prompt_form("plain").render(prompt) for prompt in sets.prompts]
    _, too_long = encoded(model, texts, chosen.sampling)
    assert found.too_long == [sets.prompts[index].id for index in too_long]
    assert 0 < len(found.too_long) < len(lengths)


def test_answers_behind_examples_are_counted_where_the_capability_check_is_made_of_them() -> None:
    def generated(places: str, name: str = "plain", capability: str | None = "own") -> tuple[int, int]:
        data = {"prompts": "demo", "limit": 6, "benign_limit": 10, "benign_held_out": 0.3}
        form, measured = {"name": name, "principles": places}, {"capability": capability}
        plan = make_plan(load_settings(settings(data=data, form=form, measure=measured)))
        assert plan.benign_held_out == 3
        return plan.generated_tokens.least, plan.generated_tokens.most - plan.trial_answers.most * 16

    usual = generated("after")
    assert generated("few-shot") == (usual[0] + 3, usual[1] + 3 * 16)
    assert generated("few-shot", capability=None) == usual
    assert generated("auto")[1] == usual[1] + 3 * 16
    assert generated("auto", "cou")[1] == usual[1]
