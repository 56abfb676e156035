"""A setting and its default stand in one place: its section. What is built from it takes the section, or has no default."""

import ast
from collections.abc import Iterator
from pathlib import Path

from iteralign.settings.file import every_setting
from iteralign.settings.oracle import EndpointSettings, GuardSettings
from iteralign.settings.settings import Settings

PACKAGE = Path(__file__).parents[1] / "src" / "iteralign"

SETTINGS = {key.rpartition(".")[2] for key in every_setting(Settings)}
SETTINGS |= {
    *EndpointSettings.model_fields,
    *GuardSettings.model_fields,
}  # of the panel and the guards, which are lists

OTHERWISE = {
    "evals/evaluate.py:Options": "the options of `iteralign evaluate`, another command",
    "interfaces.py:Judge": "0: an oracle is not asked from several threads unless it says so",
    "oracles/chat.py:ChatRequest": "the temperature of one request",
    "oracles/guards/panel.py:Panel": "a name for messages",
    "oracles/negotiation.py:Dialect": "what an endpoint takes",
    "prompts/__init__.py:Template": "a name for messages",
    "targets/transformers.py:TransformersTarget": "auto, for a guard or a judge, whose section says nothing of it",
    "weights/files.py:ModelFiles": "the same",
    "weights/model.py:LocalModel": "the same",
}
"""Classes with defaults for names that settings have too, and what those are there."""


def doubles() -> Iterator[tuple[str, str]]:
    """(file and class, parameter or field) that has a setting's name and a default, but for records."""
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not place.startswith("settings/") and not _is_record(node):
                yield from ((f"{place}:{node.name}", name) for name in _defaults(node) if name in SETTINGS)


def _is_record(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id in ("Record", "BaseModel") for base in node.bases)


def _defaults(node: ast.ClassDef) -> Iterator[str]:
    """Of the class's fields, and of its constructor's parameters. Nothing (None, an empty collection) is no choice."""
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and _chosen(part.value):
            yield part.target.id
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            positional = part.args.posonlyargs + part.args.args
            given = zip(positional[::-1], part.args.defaults[::-1], strict=False)
            named = zip(part.args.kwonlyargs, part.args.kw_defaults, strict=True)
            yield from (argument.arg for argument, value in (*given, *named) if _chosen(value))


def _chosen(value: ast.expr | None) -> bool:
    return value is not None and ast.unparse(value) not in ("None", "()", "field(default_factory=dict)")


def test_no_default_of_a_setting_is_written_a_second_time() -> None:
    found = set(doubles())
    assert {"learning_rate", "timeout", "min_fixed", "tries"} < SETTINGS
    strangers = {(place, name) for place, name in found if place not in OTHERWISE}
    assert not strangers, "take the section, or let the caller say"
    assert set(OTHERWISE) == {place for place, _ in found}, "no longer needed"


if __name__ == "__main__":
    print(*(f"{place}.{name}" for place, name in doubles()), sep="\n")
    print(sum(1 for _ in doubles()), "of", len(SETTINGS))
