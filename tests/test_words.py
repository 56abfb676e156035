"""One word for each thing: names that were taken by two things, or that explained nothing, don't come back."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "iteralign"
GONE = {"Ledger", "Reflection", "Row", "Seen", "Texts", "TakingTurns", "spared", "surroundings"}


def test_no_class_or_function_has_a_name_that_is_gone() -> None:
    named = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        named[file.stem].add(file.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                named[node.name].add(file.name)
    assert len(named) > 500
    assert {name: places for name, places in named.items() if name in GONE} == {}


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(set)
    for file in set(PACKAGE.rglob("*.py")) - set((PACKAGE / "evals" / "tasks").iterdir()):  # those are lm_eval's
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(str(file.relative_to(PACKAGE)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_glossary_has_each_word_once() -> None:
    words = re.findall(
        r"^\| \*\*(.+?)\*\* \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert len(words) > 30 and len(set(words)) == len(words)
