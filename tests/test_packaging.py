"""What is declared is what is used, and what is built is what runs: dependencies, pins, the wheel, the habits' files."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "iteralign"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IMPORTED = {"accelerate"}
"""transformers' trainer wants it."""


def requirements(*extras: str) -> dict[NormalizedName, Requirement]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {canonicalize_name(one.name): one for lines in lists for one in map(Requirement, lines)}


def imported(directory: Path) -> set[str]:
    """Top-level modules that are imported from elsewhere, also inside functions."""
    found: set[str] = set()
    for path in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    here = {path.stem for folder in (directory, ROOT / "tests") for path in folder.iterdir()}
    return found - set(sys.stdlib_module_names) - {"iteralign"} - here


def packages(modules: set[str]) -> set[str]:
    """The packages that bring them; one that is not installed has the name of its module."""
    known = packages_distributions()
    return {canonicalize_name(name) for module in modules for name in known.get(module, [module])}


def test_every_import_is_declared_and_every_dependency_is_used() -> None:
    extras = [name for name in PROJECT["optional-dependencies"] if name != "test"]
    used = packages(imported(PACKAGE))
    assert "torch" in used and "httpx2" in used
    assert used - set(requirements(*extras)) == set()
    assert set(requirements()) - used == NOT_IMPORTED


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_every_import_of_the_tests_is_declared(folder: str) -> None:
    """cryptography is imported where pyOpenSSL has brought it; tests import benchmarks by their names."""
    own = {canonicalize_name(file.stem) for file in (ROOT / "benchmarks").glob("*.py")}
    assert packages(imported(ROOT / folder)) - set(requirements("test", "embeddings")) - own <= {"cryptography"}


def test_every_pin_is_in_the_range_that_is_declared() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(pins) == len(lines)
    for name, wanted in requirements("test", "embeddings", "docs").items():
        assert name in pins, f"{name} has no pin"
        assert wanted.specifier.contains(pins[name]), f"{wanted} is pinned to {pins[name]}"


def uses(workflow: Any) -> Iterator[str]:
    for job in workflow["jobs"].values():
        yield from (step["uses"] for step in job["steps"] if "uses" in step)


def test_the_workflow_runs_what_a_contributor_runs_with_every_promised_python_and_pinned_actions() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    test = workflow["jobs"]["test"]
    assert {"run": ".ci/run"} in test["steps"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert set(promised) <= set(test["strategy"]["matrix"]["python"])
    actions = list(uses(workflow))
    assert actions and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in actions)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert {line.split()[1] for line in runs if line.startswith("make ")} <= targets


def test_hooks_use_the_tools_that_make_installs() -> None:
    (own,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert own["repo"] == "local" and "rev" not in own
    tools = {Path(hook["entry"].split()[0]).name for hook in own["hooks"]}
    assert tools == {"ruff", "mypy"} <= set(requirements("test"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the files that a checkout has, by the build backend that is installed here."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (place / name).write_bytes((ROOT / name).read_bytes())
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            (place / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            (place / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(place / "dist")]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(place)], check=True)
    (built,) = (place / "dist").glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert len(ours) > 200 and ours - held == set()
    assert {name.split("/")[0].split("-")[0] for name in held} == {"iteralign"}


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, in which only the dependencies are borrowed from this one."""
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    options = ["--quiet", "--no-deps", "--no-index", "--no-warn-script-location"]
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)]
    subprocess.run(install, check=True)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where: list[str | Path] = [python, "-c", "import iteralign; print(iteralign.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(site)
    command: list[str | Path] = [place / "bin" / "iteralign", "demo", "--run-dir", "demo"]
    for override in ("data.limit=24", "data.benign_limit=24", "training.min_benign=2", "sampling.max_new_tokens=8"):
        command += ["--set", override]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "constitution.md").exists() and (tmp_path / "demo" / "report.html").exists()
