"""The view model as one HTML file that loads nothing: styles, script and data stand in it, and its policy forbids the rest.

`section` renders one part of it, for a page that is live.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

import iteralign
from iteralign import layout
from iteralign.files import write_text
from iteralign.report.beside import SideBySide, side_by_side
from iteralign.report.gains import in_points, rate
from iteralign.report.tables import duration
from iteralign.report.view import View, view_of

SECTIONS = {
    "result": "Result",
    "did": "What changed",
    "rounds": "Rounds",
    "constitution": "Constitution",
    "answers": "Answers",
    "failures": "Failures",
    "made": "Settings and cost",
    "limits": "Limits",
}
"""The parts of the page: fields of the view, with what the navigation calls them."""

COMPARED = {
    "result": "Result",
    "rounds": "Rounds",
    "constitution": "Constitutions",
    "answers": "Answers",
    "settings": "Settings",
    "limits": "Limits",
}
"""Those of the page of several runs."""

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Write the page of a run, RUN/report.html if not said otherwise. Raises RunDirectoryError."""
    path = output or run_dir / layout.REPORT
    write_text(path, page(view_of(run_dir)))
    return path


def write_comparison(runs: Sequence[Path], output: Path) -> Path:
    """Write the page of two to five runs side by side. Raises ConfigError, RunDirectoryError."""
    write_text(output, comparison(side_by_side(runs)))
    return output


def comparison(view: SideBySide) -> str:
    """The whole file."""
    title = " beside ".join(view.names)
    return _whole("compare.html", COMPARED, data={}, title=title, shown=view, version=iteralign.__version__)


def page(view: View) -> str:
    """The whole file."""
    parts = {name: section(name, getattr(view, name)) for name in SECTIONS}
    data = {item.name: [pair.row() for pair in item.shown] for item in view.answers}
    return _whole("page.html", SECTIONS, data, parts=parts, title=view.facts.name, facts=view.facts)


def section(name: str, shown: Any) -> Markup:
    """A part of the page: its name in SECTIONS, and the view's field of that name. Everything of the run's is escaped."""
    return Markup(_seen(templates().get_template(f"parts/{name}.html").render(shown=shown)))


def _whole(template: str, names: Mapping[str, str], data: Any, **fields: Any) -> str:
    """A file that holds its styles and its script, and whose policy lets no other script run."""
    style, script = source("page.css"), source("page.js")
    allowed = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    text = (
        templates()
        .get_template(template)
        .render(
            names=names,
            policy=f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'",
            style=Markup(style),
            script=Markup(script),
            data=embedded(data),
            **fields,
        )
    )
    return _seen(text)


def with_code(text: str) -> Markup:
    """Escaped, with what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def embedded(data: Any) -> Markup:
    """JSON that can stand in a script element whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def source(name: str) -> str:
    """A file of this folder: page.css, page.js or a template."""
    return resources.files("iteralign.report").joinpath(name).read_text(encoding="utf-8")


@cache
def templates(*more: Callable[[str], str | None]) -> jinja2.Environment:
    """Those of this folder, which escape whatever they are given; `more` finds further ones by name, or says None."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FunctionLoader(find) for find in (*more, source)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"rate": rate, "points": in_points, "duration": duration, "code": with_code}
    return made


def _seen(text: str) -> str:
    """Without characters that HTML has no place for."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
