"""Parts say what they can and are made with what they need: nothing is probed, nothing is set from outside, in any file."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "iteralign"
FILES = sorted(PACKAGE.rglob("*.py"))

LOOKED_FOR = {
    "strerror": "an OSError has it, and a UnicodeError has not",
    "response": "of huggingface_hub's errors, some of which come from an answer",
    "status_code": "the same",
    "flatten": "of pyarrow's nested arrays, but for those to come",
    "in_features": "of torch's linear layers, also of kinds that are not torch's",
    "CSafeLoader": "where yaml was built with libyaml",
    "sched_getaffinity": "not on every system",
    "get_base_model": "of peft's models",
    "peft_config": "left behind by peft",
    "quantization_config": "of transformers' configurations, which differ by model",
    "intermediate_size": "the same",
    "max_position_embeddings": "the same",
    "num_key_value_heads": "the same",
    "head_dim": "the same",
    "_commit_hash": "the same",
    "config": "the same, by the names in a list",
    "network.config": "the same",
}
"""Attributes that may be looked for, or objects whose attributes may: those of other people's classes, and why."""

SET_FROM_OUTSIDE = {
    "response.stream": "httpx's own hook",
    "args._n_gpu": "transformers' own way to say that one GPU is used",
    "model.generation_config": "transformers'",
    "network.name_or_path": "the same",
    "network.config.name_or_path": "the same",
    "network.generation_config": "the same",
    "self._callback.logging_dir": "transformers' tracker",
    "done.rows": "filled by the functions of evaluate.py, which made it",
    "done.verdicts": "the same",
    "done.harness": "the same",
    "done.not_run": "the same",
    "flight.result": "a private class of the same file",
}
"""Attributes that may be set on an object that is neither self nor made in the same function, and why."""


def named(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_nothing_is_probed() -> None:
    """No hasattr, no setattr, and no getattr of a name that is written out or has a default, but of other people's objects.

    What is left is a field chosen by name: getattr(row, key).
    """
    found = {what: place for file in FILES for what, place in probed(file)}
    assert {place for what, place in found.items() if what not in LOOKED_FOR} == set()
    assert set(LOOKED_FOR) <= set(found), "the list is no longer than it need be"


def test_no_object_is_wired_from_outside() -> None:
    """An attribute is set on self, or on what the same function made by a call."""
    found = {what: f"{file.relative_to(PACKAGE)}: {what}" for file in FILES for what in wired(tree(file))}
    assert {place for what, place in found.items() if what not in SET_FROM_OUTSIDE} == set()
    assert set(SET_FROM_OUTSIDE) <= set(found), "the list is no longer than it need be"


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def probed(file: Path) -> Iterator[tuple[str, str]]:
    """(the attribute that is looked for, or the object where its name is not written out; where)."""
    for node in ast.walk(tree(file)):
        if not isinstance(node, ast.Call) or named(node) not in ("getattr", "hasattr", "setattr"):
            continue
        what, name = node.args[0], node.args[1]
        if named(node) == "getattr" and len(node.args) == 2 and not isinstance(name, ast.Constant):
            continue
        looked_for = str(name.value) if isinstance(name, ast.Constant) else ast.unparse(what)
        yield looked_for, f"{file.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"


def wired(module: ast.Module) -> Iterator[str]:
    """Attributes that are set on an object which is neither self nor made in the same function."""
    for function, attribute in set_attributes(module):
        made = {"self", "cls", *made_in(function)} if function is not None else set()
        if not (isinstance(attribute.value, ast.Name) and attribute.value.id in made):
            yield ast.unparse(attribute)


def set_attributes(node: ast.AST, function: ast.AST | None = None) -> Iterator[tuple[ast.AST | None, ast.Attribute]]:
    """(the innermost function around it, the attribute) of each assignment to one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
            yield function, child
        yield from set_attributes(child, child if isinstance(child, ast.FunctionDef) else function)


def made_in(function: ast.AST) -> set[str]:
    """Names that are given the result of a call there."""
    given = [node for node in ast.walk(function) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)]
    return {target.id for node in given for target in node.targets if isinstance(target, ast.Name)}


def seam_classes() -> set[str]:
    """Names of all classes that derive from a base class of interfaces.py, and of those themselves."""
    bases: defaultdict[str, set[str]] = defaultdict(set)
    for file in FILES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                bases[node.name] |= {base.id for base in node.bases if isinstance(base, ast.Name)}
    known = {"Part"}
    while more := {name for name, parents in bases.items() if parents & known} - known:
        known |= more
    return known


def test_nobody_asks_which_part_it_has() -> None:
    classes = seam_classes()
    assert classes >= {"Target", "Judge", "Oracle", "Trainer", "LLMOracle", "TransformersTarget", "SFT", "FakeOracle"}
    for file in FILES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call) and named(node) == "isinstance":
                asked = {one.id for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}
                assert not asked & classes, f"{file.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(run, model):\n    run.weights = model.writing", ["run.weights"]),
        ("def f(parts):\n    parts = replace(parts)\n    parts.model.check, other = 1, 2", ["parts.model.check"]),
        ("def f():\n    made = Thing()\n    made.name = 1\n    self.name = 2", []),
        ("def f(stages):\n    def around(): ...\n    stages.around += around", ["stages.around"]),
    ],
)
def test_the_rule_sees_what_it_should(source: str, found: list[str]) -> None:
    assert list(wired(ast.parse(source))) == found
