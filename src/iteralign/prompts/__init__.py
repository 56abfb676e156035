"""The texts put to the oracle and to the target, as files beside this module; a user's own text replaces any of them.

Placeholders look like `{question}` and are filled in one pass, so that text put in is never searched for placeholders:
red-team prompts contain braces and things like `{response}` themselves.
"""

import functools
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from iteralign.errors import ConfigError
from iteralign.text.bounded import read_text

OwnTexts = Path | Mapping[str, Path] | None
"""Where a user's own texts are: a directory that has them under our names, or a file for each by its name."""

_OF_ONES_OWN = "template"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Template:
    """A text with named placeholders.

    Raises ConfigError at construction when a placeholder of `fields` is missing from the text or the text has one that
    is not in `fields`.
    """

    def __init__(self, text: str, fields: frozenset[str] | set[str], name: str = "template") -> None:
        found = set(_PLACEHOLDER.findall(text))
        for what, names in (("unknown", found - fields), ("missing", set(fields) - found)):
            if names:
                listed = ", ".join(f"{{{name}}}" for name in sorted(names))
                wanted = ", ".join(f"{{{name}}}" for name in sorted(fields))
                raise ConfigError(f"{name}: {what} placeholder {listed}. It must contain exactly: {wanted}.")
        self.text = text
        self.fields = frozenset(fields)
        self.name = name

    def fill(self, **values: str) -> str:
        """The text with every placeholder replaced; values are inserted as they are."""
        if set(values) != self.fields:
            raise ConfigError(f"{self.name}: filled with {sorted(values)}, but its fields are {sorted(self.fields)}.")
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)


def load_template(name: str, fields: frozenset[str] | set[str], texts: OwnTexts = None) -> Template:
    """The user's own text called `name`, or the one that ships with iteralign. Raises ConfigError."""
    own = own_texts(texts).get(name)
    if own is not None:
        return read_template(name, fields, own)
    if name not in _shipped():
        raise ConfigError(
            f"The text {name} must be given: {name}.txt in a directory of your own texts, or its file by name."
        )
    text = resources.files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return Template(text.removesuffix("\n"), fields, f"{name}.txt")


def read_template(name: str, fields: frozenset[str] | set[str], path: Path | str) -> Template:
    """The text in a file, for what is called `name`. A single newline at its end is not part of it. Raises ConfigError."""
    try:
        text = read_text(Path(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The template file {path} for {name} can't be read: {error}.") from error
    return Template(text.removesuffix("\n"), fields, str(path))


def own_texts(texts: OwnTexts) -> Mapping[str, Path]:
    """The user's files by the names of the texts. Raises ConfigError, also for a name that no text has."""
    if texts is None:
        return {}
    try:
        own = texts if isinstance(texts, Mapping) else {p.stem: p for p in texts.iterdir() if p.suffix == ".txt"}
    except (OSError, ValueError) as error:
        raise ConfigError(f"The directory of texts {texts} can't be read: {error}.") from error
    known = {*_shipped(), _OF_ONES_OWN}
    for name in own:
        if name not in known:
            raise ConfigError(f"{own[name]}: no text is called {name}; there are {', '.join(sorted(known))}.")
    return own


@functools.cache
def _shipped() -> frozenset[str]:
    return frozenset(
        p.name.removesuffix(".txt") for p in resources.files(__package__).iterdir() if p.name.endswith(".txt")
    )
