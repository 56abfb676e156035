"""The page of the docs site that has every setting, made from the settings themselves, so that it is never out of date."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from iteralign.records import Record
from iteralign.settings.section import Section
from iteralign.settings.settings import Settings

HEAD = """# Settings

Every setting of a run, with its default and what it does. They stand in a YAML file, a section under each heading;
`--set a.b=value` changes one for a command. What is wrong in a file is told with the key and the nearest known one.
`iteralign init` writes a file to start from, `iteralign schema` a JSON schema by which an editor completes and checks it.
"""

_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}


def settings_page() -> str:
    """The page."""
    return HEAD + "".join(_section(name, model) for name, model in _sections("", Settings))


def _sections(name: str, model: type[Any]) -> Iterator[tuple[str, type[Any]]]:
    """A section and those in it, by their keys."""
    yield name, model
    for key, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            yield from _sections(f"{name}.{key}".lstrip("."), inner)


def _section(name: str, model: type[Any]) -> str:
    fields = {key: field for key, field in model.model_fields.items() if _model_in(field.annotation) is None}
    rows = [_row(f"{name}.{key}".lstrip("."), field) for key, field in fields.items()]
    rows += [
        f"| `{f'{name}.{key}'.lstrip('.')}` | {'a section' if field.default is None else 'a list of sections'} | "
        f"`{_value(field.default)}` | {_cell(field.description)} |"
        for key, field in model.model_fields.items()
        if key not in fields and field.default in (None, ())
    ]
    title = f"`{name}`" if name else "On top"
    about = " ".join((model.__doc__ or "").split())
    table = "\n".join(["| setting | takes | default | what it does |", "|---|---|---|---|", *rows])
    return f"\n## {title}\n\n{about}\n" + (f"\n{table}\n" if rows else "")


def _row(key: str, field: FieldInfo) -> str:
    default = "*required*" if field.is_required() else f"`{_value(field.get_default(call_default_factory=True))}`"
    takes = ", ".join([_takes(field.annotation), *_bounds(field.metadata)])
    return f"| `{key}` | {_cell(takes)} | {_cell(default)} | {_cell(field.description)} |"


def _takes(annotation: Any) -> str:
    """A type in words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return ", ".join([_takes(inside[0]), *_bounds(annotation.__metadata__)])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inside)
    if origin in (Union, UnionType):
        return " or ".join("null" if one is NoneType else _takes(one) for one in inside)
    if origin in (tuple, list):
        return f"a list of {_takes(inside[0])}"
    if origin is dict:
        return f"{_takes(inside[1])} by {_takes(inside[0])}"
    name = getattr(annotation, "__name__", str(annotation))
    return _NAMES.get(name, name)


def _bounds(metadata: Any) -> Iterator[str]:
    """What a number must keep to."""
    for one in metadata:
        inner = getattr(one, "metadata", None)
        if isinstance(one, FieldInfo) and inner:
            yield from _bounds(inner)
        for name, words in _BOUNDS.items():
            if getattr(one, name, None) is not None:
                yield f"{words} {getattr(one, name)}"


def _value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple() | list():
            return f"[{', '.join(map(_value, value))}]"
    return repr(value) if isinstance(value, str) and value.strip() != value else str(value)


def _model_in(annotation: Any) -> type[Any] | None:
    """The section that a setting is, also where it may be null."""
    options = [annotation, *get_args(annotation)]
    return next((one for one in options if isinstance(one, type) and issubclass(one, Section | Record)), None)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
