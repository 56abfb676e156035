"""The texts put to the oracle and to the target, as files beside this module; a user's own file replaces any of them.

Placeholders look like `{question}` and are filled in one pass, so that text put in is never searched for placeholders:
red-team prompts contain braces and things like `{response}` themselves.
"""

import re
from importlib import resources
from pathlib import Path

from iteralign.errors import ConfigError

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


def load_template(name: str, fields: frozenset[str] | set[str], override: Path | str | None = None) -> Template:
    """The template `name` shipped with iteralign, or the user's own file in its place.

    A single newline at the end of the file is not part of the text.
    """
    if override is not None:
        path = Path(override)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The template file {path} for {name} can't be read: {error}.") from error
        label = str(path)
    else:
        text = resources.files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
        label = f"{name}.txt"
    return Template(text.removesuffix("\n"), fields, label)
