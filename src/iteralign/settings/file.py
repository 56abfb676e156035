"""A settings file and overrides as plain values, and what is wrong with them in words."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from iteralign.errors import ConfigError
from iteralign.text.bounded import load_yaml
from iteralign.text.bounded import read_yaml as read_document


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a settings file. Raises ConfigError."""
    if path.is_dir():
        raise ConfigError(f"{path} is a directory; a settings file is needed. `iteralign init FILE` writes one.")
    try:
        values = read_document(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no settings file {path}. `iteralign init {path}` writes one to start from."
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"The settings file {path} can't be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The settings file {path} must hold keys and values, not {type(values).__name__}.")
    return values


def with_override(values: dict[str, Any], override: str) -> dict[str, Any]:
    """`values` with `a.b=value` in it. Raises ConfigError."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: write it as a.b=value.")
    try:
        value = load_yaml(text)
    except ValueError as error:
        raise ConfigError(f"--set {override}: the value can't be read: {error}") from error
    try:
        return placed(values, key.strip(), value)
    except ConfigError as error:
        raise ConfigError(f"--set {override}: {error}") from error


def placed(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`values` with `value` at `a.b`. Raises ConfigError where `a` has no keys."""
    head, _, rest = key.partition(".")
    if not rest:
        return {**values, head: value}
    inner = values.get(head) or {}
    if not isinstance(inner, dict):
        raise ConfigError(f"{head} is a single value, it has no keys of its own.")
    return {**values, head: placed(inner, rest, value)}


def explain(item: Any, settings: type[BaseModel]) -> str:
    """One of pydantic's errors about `settings`, for a person."""
    where = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        known = _known_keys(item["loc"][:-1], settings)
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}."
        return f"{where}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{where}: must be given."
    message = str(item["msg"].removeprefix("Value error, "))
    if where == "settings":
        return message
    if item["loc"][0] == "oracle" or "served" in item["loc"]:  # a key put there by mistake must not be repeated
        return f"{where}: {message}."
    return f"{where}: {message} (got {item['input']!r})."


def _known_keys(location: Sequence[Any], section: type[BaseModel]) -> list[str]:
    for part in location:
        if isinstance(part, int):  # a place in a list of sections
            continue
        inner = _section_of(section.model_fields[part].annotation) if part in section.model_fields else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)


def every_setting(section: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """`{"a.b": its field}` for each setting that `--set` can give; a list of sections is one setting."""
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        inner = None if get_origin(field.annotation) is tuple else _section_of(field.annotation)
        found |= {f"{prefix}{name}": field} if inner is None else every_setting(inner, f"{prefix}{name}.")
    return found


def choices(annotation: Any) -> list[str]:
    """The values of a setting that has few, as YAML; [] for a number or a text."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if get_origin(annotation) not in (Union, UnionType):
        return []
    found = [value for one in get_args(annotation) for value in choices(one)]
    return [*found, "null"] if found and type(None) in get_args(annotation) else found


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a setting is, may be, or is a list of."""
    options = [annotation, *get_args(annotation)]
    return next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return pairs
