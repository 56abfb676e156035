"""A backend that nobody here has thought of is a file, a line of its section and a case of one match: a copy of the package
gets an oracle, a target and a trainer so, and a run by the settings alone uses all three."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import iteralign

ORACLE = "from iteralign.fakes import FakeOracle\n\n\nclass StrictOracle(FakeOracle):\n    pass\n"
TARGET = "from iteralign.fakes import FakeTarget\n\n\nclass ParrotTarget(FakeTarget):\n    pass\n"
TRAINER = """
from iteralign.interfaces import Trainer


class IdleTrainer(Trainer):
    def finetune(self, start, examples, directory, round_number):
        (directory / "idle.txt").write_text(str(len(examples)))
        return start
"""
FILES = {"oracles/strict.py": ORACLE, "targets/parrot.py": TARGET, "trainers/idle.py": TRAINER}
SECTIONS = {
    "oracle": ('kind: Literal["rules", "openai"]', 'kind: Literal["strict", "rules", "openai"]'),
    "model": ('engine: Literal["transformers", ', 'engine: Literal["parrot", "transformers", '),
    "training": ('Method = Literal["lora", ', 'Method = Literal["idle", "lora", '),
}
CASES = {
    'case "rules":\n            from iteralign.oracles.rules': ("strict", "oracles.strict", "StrictOracle"),
    'case "transformers":\n            from iteralign.targets': ("parrot", "targets.parrot", "ParrotTarget"),
    'case "lora" | "full"': ("idle", "trainers.idle", "IdleTrainer"),
}
"""The case of runs/build.py that the new one stands before."""
CASE = """case "{}":
            from iteralign.{} import {}

            return {}()
        """

RUN = """
from pathlib import Path
import iteralign
from iteralign.runs.parts import build_parts
from iteralign.settings.settings import load_settings
values = {
    "model": {"path": "demo", "engine": "parrot"},
    "oracle": {"kind": "strict"},
    "training": {"method": "idle"},
    "data": {"prompts": "demo", "limit": 6, "held_out": 0, "benign": None},
    "rounds": {"prompts": 3, "limit": 1},
    "constitution": {"gate": {"enabled": False}},
    "measure": {"capability": None},
}
settings = load_settings(values)
parts = build_parts(settings, Path("other"))
print(iteralign.__file__, *(type(part).__name__ for part in (parts.target, parts.oracle, parts.trainer)))
iteralign.run(settings, Path("run"))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy's `src`."""
    source = tmp_path_factory.mktemp("copy") / "src"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(iteralign.__file__).parent, source / "iteralign", ignore=ignored)
    return source


def test_a_new_backend_is_a_file_a_line_and_a_case(package: Path, tmp_path: Path) -> None:
    build = package / "iteralign" / "runs" / "build.py"
    for name, content in FILES.items():
        (package / "iteralign" / name).write_text(content, encoding="utf-8")
    for name, (before, after) in SECTIONS.items():
        replace(package / "iteralign" / "settings" / f"{name}.py", before, after)
    for case, (kind, module, made) in CASES.items():
        replace(build, case, CASE.format(kind, module, made, made) + case)
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines()[-1] == f"{package / 'iteralign' / '__init__.py'} ParrotTarget StrictOracle IdleTrainer"
    )
    assert (tmp_path / "run" / "rounds" / "0000" / "idle.txt").read_text() == "3"


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name}: {before!r}"
    path.write_text(text.replace(before, after), encoding="utf-8")
