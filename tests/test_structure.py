"""What the design promises: who may import whom, light imports, no file that has grown out of hand."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "iteralign"

LAYERS: dict[str, set[str]] = {
    "choices": set(),
    "errors": set(),
    "characters": set(),
    "records": {"characters"},
    "activity": set(),
    "refusals": set(),
    "degenerate": set(),
    "bounded": set(),
    "control_text": set(),
    "files": {"bounded", "errors"},
    "interfaces": {"records", "errors"},
    "section": set(),
    "settings_file": {"bounded", "errors"},
    "similarity": {"errors"},
    "prompts": {"control_text", "records", "errors"},
    "oracle_settings": {"section"},
    "config": {"records", "errors", "prompts", "section", "settings_file", "oracle_settings", "constitution"},
    "addresses": {"errors", "config", "oracle_settings", "endpoints"},
    "prompt_sets": {"records", "errors", "config", "data", "demo"},
    "metrics": {"characters", "records"},
    "ending": {"records", "metrics", "degenerate", "constitution"},
    "progress": {"activity", "metrics", "records", "rundir"},
    "load_errors": {"errors"},
    "base_hash": {"errors", "files"},
    "gguf_files": {"base_hash", "errors", "files", "load_errors"},
    "model_files": {"base_hash", "errors", "gguf_files", "load_errors", "model_tensors"},
    "model_tensors": {"bounded", "errors"},
    "hardware": set(),
    "model": {"records", "errors", "files", "load_errors", "model_files", "hardware"},
    "fakes": {"records", "errors", "interfaces"},
    "steps": {"activity", "records", "errors", "interfaces", "prompts", "degenerate", "similarity"},
    "data": {"bounded", "records", "errors", "prompts"},
    "endpoints": {"characters", "errors"},
    "oracles": {
        *("endpoints", "activity", "characters", "records", "errors", "files", "interfaces", "prompts", "refusals"),
        *("degenerate", "similarity", "bounded", "control_text"),
    },
    "targets": {"endpoints", "characters", "activity", "records", "errors", "interfaces", "model", "model_files"},
    "tracking": {"errors", "files"},
    "curves": {"records", "metrics", "constitution", "oracles", "tracking"},
    "trainers": {"activity", "records", "errors", "interfaces", "model", "model_files", "files", "tracking"},
    "demo": {"records", "errors"},
    "manifest": {"errors", "files"},
    "kept_files": {"records", "errors", "files", "manifest"},
    "rundir": {"bounded", "records", "errors", "config", "files", "manifest", "kept_files"},
    "constitution": {
        *(
            "bounded",
            "control_text",
            "choices",
            "records",
            "errors",
            "files",
            "interfaces",
            "prompts",
            "refusals",
            "section",
            "similarity",
            "steps",
            "evals",
        ),
    },
    "algorithm": {"activity", "records", "interfaces", "steps", "prompts", "constitution", "similarity"},
    "evals": {"bounded", "records", "errors", "interfaces", "prompts", "refusals", "steps", "data"},
    "lookahead": {"activity", "records", "interfaces", "prompts", "steps"},
    "ledgers": {"records", "errors", "files", "rundir", "constitution"},
    "integrity": {"records", "errors", "config", "files", "manifest", "kept_files", "rundir", "model_files"},
    "export": {"choices", "records", "errors", "rundir", "files", "ledgers", "constitution"},
    "report": {
        *("bounded", "control_text"),
        *("ending", "integrity", "records", "errors", "config", "files", "rundir", "metrics"),
        *("evals", "scoreboard", "refusals", "export"),
    },
    "signing": {"errors", "integrity", "manifest"},
    "push": {"integrity", "errors", "files", "export", "report"},
    "scoreboard": {
        *("records", "errors", "interfaces", "prompts", "steps", "rundir"),
        *("evals", "metrics", "degenerate", "refusals", "characters"),
    },
}
"""For each module or package directly below iteralign: the others it may import. Those not listed (build, parts, run,
retrain, evaluate, judge_check, plan, doctor, status, cli) stand above and may import any of these."""


def imported(path: Path) -> set[str]:
    """Names directly below `iteralign` that the file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "iteralign":
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("iteralign.")}
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    place = PACKAGE / layer
    files = list(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    for file in files:
        strangers = imported(file) - LAYERS[layer] - {layer}
        assert not strangers, f"{file.relative_to(PACKAGE)} imports {sorted(strangers)}"


def test_every_module_is_in_a_layer() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - set(LAYERS) == {
        *("__init__", "build", "parts", "run", "retrain", "preflight", "plan", "plan_cost", "plan_hours"),
        *("doctor", "status", "evaluate", "judge_check", "cli"),
    }


@pytest.mark.parametrize("module", ["iteralign", "iteralign.cli.app", "iteralign.algorithm", "iteralign.fakes"])
def test_light_imports(module: str) -> None:
    heavy = ("torch", "transformers", "trl", "peft", "datasets", "openai", "accelerate")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_pickle_is_loaded_but_by_the_restricted_reader() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "pickles.py":
            assert "import pickle" not in text and "torch.load" not in text, file


def test_files_stay_readable() -> None:
    for file in set(PACKAGE.rglob("*.py")) - {
        PACKAGE / "demo" / "harm.py",
        PACKAGE / "demo" / "benign.py",
    }:  # word lists
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 400, file


def test_help_loads_neither_settings_nor_records() -> None:
    """They take longer than all else that `iteralign --help` does, which is to start in less than 0.3 s."""
    code = (
        "import sys; sys.argv = ['iteralign', '--help']\n"
        "from iteralign.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('pydantic', 'yaml', 'iteralign.run') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Usage" in done.stdout and done.stderr.strip() == "[]"
