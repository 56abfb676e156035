"""What is known of a model without torch: kept for its files as they are, and for no others."""

import gc
import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from iteralign.errors import TargetError
from iteralign.preflight.plan import make_plan
from iteralign.records import many
from iteralign.settings.settings import Settings, load_settings
from iteralign.weights.files import ModelFiles

PLAN = (
    "import sys; from iteralign.preflight.plan import make_plan; from iteralign.settings.settings import load_settings\n"
    "plan = make_plan(load_settings(sys.argv[1]))\n"
    "print(plan.parameters, plan.trained_parameters, sorted({'torch', 'transformers', 'openai'} & sys.modules.keys()))"
)


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to be changed, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return copytree(tiny_llama, tmp_path / "model")


def settings(model: Path, threads: int | None = 1) -> Settings:
    values = {"model": {"path": str(model), "device": "cpu"}, "data": {"prompts": "demo", "limit": 10, "benign": None}}
    return load_settings(values | {"oracle": {"kind": "rules"}, "sampling": {"max_new_tokens": 8}, "threads": threads})


@pytest.mark.slow
def test_a_second_plan_imports_neither_torch_nor_transformers_and_says_the_same(model: Path, tmp_path: Path) -> None:
    first = make_plan(settings(model))
    file = tmp_path / "config.json"
    file.write_text(settings(model).model_dump_json())
    done = subprocess.run([sys.executable, "-c", PLAN, str(file)], capture_output=True, text=True)
    assert done.stdout.strip() == f"{first.parameters} {first.trained_parameters} []", done.stderr


def test_layers_are_built_once_for_the_same_files(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    empty_network = ModelFiles.empty_network

    def counted(self: ModelFiles, attention: str | None = None) -> object:
        built.append(self.name_or_path)
        return empty_network(self, attention)

    monkeypatch.setattr(ModelFiles, "empty_network", counted)
    plan = make_plan(settings(model))
    assert built and make_plan(settings(model)) == plan
    once = len(built)
    assert make_plan(settings(model)).parameters == plan.parameters and len(built) == once
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(TargetError, match="are missing"):
        make_plan(settings(model))
    with pytest.raises(TargetError, match="are missing"):  # what is not fit is not kept
        make_plan(settings(model))


def test_a_model_that_brings_code_or_lies_on_the_hub_is_looked_at_each_time(model: Path) -> None:
    ModelFiles(str(model)).keep()
    assert ModelFiles(str(model)).kept == ModelFiles(str(model)).sizes
    assert ModelFiles(str(model), trust_remote_code=True).kept is None
    assert ModelFiles("someone/a-model").kept is None


def test_nothing_is_collected_while_many_records_are_made() -> None:
    with pytest.raises(ValueError), many():
        assert not gc.isenabled()
        with many():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()
