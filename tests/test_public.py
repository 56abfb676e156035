"""What others may build on: the public names, each with its contract in a docstring, and nothing else in the docs."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import iteralign

ROOT = Path(__file__).parents[1]

MODULES = (
    *("errors", "fakes", "interfaces", "records"),
    *("oracles.rules", "prompts.forms", "report.export"),
    *("steps.judge", "steps.propose", "steps.respond"),
)
"""Public beside what `iteralign.__all__` names; CONTRIBUTING.md lists the same."""


def public(module: str) -> dict[str, object]:
    """Classes and functions that the module defines, but for those with an underscore."""
    names = vars(import_module(f"iteralign.{module}"))
    return {
        name: thing
        for name, thing in names.items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == f"iteralign.{module}"
        if inspect.isclass(thing) or inspect.isfunction(thing)
    }


def undocumented(name: str, thing: object) -> Iterator[str]:
    """The name, and those of its own methods, where no docstring is; only a method that overrides may have its parent's."""
    written = vars(thing).get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)
    if not written or written.startswith(f"{name.split('.')[-1]}("):  # as dataclasses write one
        yield name
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            if (
                not method.startswith("_")
                and inspect.isfunction(function)
                and not inspect.getdoc(getattr(thing, method))
            ):
                yield f"{name}.{method}"


def test_public_names_are_documented() -> None:
    named = {name: getattr(iteralign, name) for name in iteralign.__all__}
    things = named | {f"{module}.{name}": thing for module in MODULES for name, thing in public(module).items()}
    assert len(things) > 60
    assert [missing for name, thing in things.items() for missing in undocumented(name, thing)] == []


def test_the_names_of_the_package_are_listed_once() -> None:
    assert iteralign.__all__ == sorted(iteralign.__all__)
    assert set(iteralign.__all__) <= set(dir(iteralign))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        iteralign.nothing  # noqa: B018


def imports(page: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of what the Python blocks of a page take from the package."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "iteralign":
                yield from ((node.module, alias.name) for alias in node.names)


def test_the_docs_use_public_names_only() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    used = {one for page in pages for one in imports(page)}
    assert len(used) > 10
    for module, name in used:
        inner = module.removeprefix("iteralign").removeprefix(".")
        known = public(inner) if inner in MODULES else iteralign.__all__ if not inner else ()
        assert name in known, f"{module}.{name} is not public"


def test_contributing_lists_the_public_modules() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"the modules\s(.*?)\. Everything else", text, flags=re.DOTALL)
    assert sorted(re.findall(r"`([a-z._]+)`", listed)) == sorted(MODULES)
