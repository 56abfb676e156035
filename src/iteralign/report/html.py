"""The view model as one HTML file that loads nothing: styles, script and data stand in it, and its policy forbids the rest."""

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from iteralign import layout
from iteralign.files import write_text
from iteralign.report.chart import curve
from iteralign.report.tables import duration
from iteralign.report.view import View, rate, view_of

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Write the page of a run, RUN/report.html if not said otherwise. Raises RunDirectoryError."""
    path = output or run_dir / layout.REPORT
    write_text(path, page(view_of(run_dir)))
    return path


def page(view: View) -> str:
    """The whole file. Everything of the run's is escaped; the script's policy lets no other script run."""
    style, script = _source("page.css"), _source("page.js")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"rate": rate, "duration": duration, "code": with_code}
    template = environment.from_string(_source("page.html"))
    allowed = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    text = template.render(
        view=view,
        curves=[(title, caption, curve(points, title, percent=share)) for title, caption, points, share in view.curves],
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        data=embedded({item.name: [pair.row() for pair in item.shown] for item in view.pairs}),
    )
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def with_code(text: str) -> Markup:
    """Escaped, with what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def embedded(data: Any) -> Markup:
    """JSON that can stand in a script element whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _source(name: str) -> str:
    return resources.files("iteralign.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
