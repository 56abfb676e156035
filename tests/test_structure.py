"""What the design promises: who may import whom, light imports, no file that has grown out of hand."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "iteralign"

LAYOUT = PACKAGE / "layout" / "__init__.py"

FLOORS = [
    *("errors", "activity", "demo"),
    "text",
    *("records", "files", "stats", "endpoints"),
    "layout",
    "interfaces",
    *("fakes", "prompts", "settings"),
    *("data", "oracles", "weights", "steps", "cluster"),
    *("targets", "trainers", "lookahead", "redteam", "constitution"),
    *("scoreboard", "algorithm", "rundir", "integrity", "report"),
    "runs",
    *("preflight", "evals", "view"),
    "cli",
]
"""What stands directly below iteralign, from the ground up: each may import what stands before it."""

APART = {
    "stats": {"files"},
    "weights": {"data", "oracles"},
    "cluster": {"data", "oracles", "weights", "steps", "settings"},
    "steps": {"data", "oracles", "weights", "settings"},
    "targets": {"steps", "oracles"},
    "trainers": {"steps", "oracles", "targets"},
    "oracles": {"data", "weights", "targets"},
    "algorithm": {"settings", "oracles", "targets", "trainers", "rundir"},
    "report": {"targets", "trainers", "weights"},
}
"""And these, though they stand lower, are none of its business."""


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


@pytest.mark.parametrize("place", FLOORS)
def test_imports_go_one_way(place: str) -> None:
    root = PACKAGE / place
    files = set(root.rglob("*.py")) if root.is_dir() else {root.with_suffix(".py")}
    assert files
    allowed = {"__version__", place, *FLOORS[: FLOORS.index(place)]} - APART.get(place, set())
    for file in files:
        strangers = imported(file) - allowed
        assert not strangers, f"{file.relative_to(PACKAGE)} imports {sorted(strangers)}"


def test_every_place_is_on_a_floor_and_few_files_lie_in_the_root() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    entries = {"__init__", "__main__"}
    assert names - entries == set(FLOORS) and len(FLOORS) == len(set(FLOORS))
    assert len({path.stem for path in PACKAGE.glob("*.py")} - entries) <= 7


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
        "finally: print([name for name in ('pydantic', 'yaml', 'iteralign.runs.run') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Usage" in done.stdout and done.stderr.strip() == "[]"


ELSEWHERE = {
    ("cli/app.py", "config.yaml"),  # the user's own, as is prompts.jsonl
    ("cli/init.py", "config.yaml"),
    ("cli/data.py", "prompts.jsonl"),
    ("oracles/cache.py", "replies.sqlite"),  # in the user's cache
    ("runs/build.py", "model"),  # the demo's
}


def said(tree: ast.AST) -> Iterator[str]:
    """The strings of a module that are no docstrings; of a path, also its parts."""
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
            yield f"{node.right.value!s}/"


def test_no_other_module_spells_out_the_name_of_a_stage_or_file_of_a_run() -> None:
    """One that is renamed is renamed in one place."""
    from iteralign import layout

    files = {value for key, value in vars(layout).items() if key.isupper() and isinstance(value, str) and "." in value}
    files |= set(layout.STAGES)
    files |= {layout.begun_with(name) for name in (*layout.PROMPT_SETS, layout.GIVEN_CONSTITUTION)}
    places = {f"{name}/" for name in (*layout.DIRECTORIES, layout.CARDS, layout.ADAPTER, layout.FULL_WEIGHTS)}
    names = "|".join(re.escape(name) for name in sorted({*files, *places, *(Path(name).name for name in files)}))
    pattern = re.compile(rf"(?<![\w./-])(?:{names})")
    assert pattern.search("1_responses") and pattern.search("the run's metrics.jsonl") and pattern.search("rounds/")
    for file in set(PACKAGE.rglob("*.py")) - {LAYOUT}:
        name = file.relative_to(PACKAGE).as_posix()
        found = {
            match[0].rstrip("/")
            for text in said(ast.parse(file.read_text("utf-8")))
            for match in pattern.finditer(text)
        }
        strangers = {(name, one) for one in found} - ELSEWHERE
        assert not strangers
