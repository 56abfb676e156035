"""The docs site, built into build/site: ``python docs/make_site.py``. A broken link is an error.

zensical (zensical.toml) builds it: mkdocs-material, which it comes from, ends in 2027. It takes Markdown from one directory,
so the pages are put together in build/docs first: the README is the first page, the notebook and the settings become one each,
and links to files outside of docs/ become their paths.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from settings_page import settings_page

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def pages(root: Path) -> Path:
    """build/docs of a checkout, made anew."""
    place = root / "build" / "docs"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file in (root / "docs").iterdir():
        if file.suffix in (".png", ".svg", ".css", ".js", ".yaml"):
            shutil.copy(file, place)
        elif file.suffix in (".md", ".ipynb"):
            text = file.read_text(encoding="utf-8")
            text = notebook(json.loads(text)) if file.suffix == ".ipynb" else text
            (place / file.name).with_suffix(".md").write_text(_LINK.sub(_inside, text), encoding="utf-8")
    (place / "settings.md").write_text(settings_page(), encoding="utf-8")
    first = _LINK.sub(_from_root, (root / "README.md").read_text(encoding="utf-8"))
    (place / "index.md").write_text(first, encoding="utf-8")
    return place


def notebook(read: dict[str, Any]) -> str:
    """A notebook as Markdown, with what its cells printed."""
    parts = []
    for cell in read["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            printed = output.get("text") or output.get("data", {}).get("text/plain", "")
            parts.append(f"```text\n{''.join(printed).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _from_root(link: re.Match[str]) -> str:
    """A link of the README."""
    mark, text, target = link.groups()
    if target.startswith("docs/"):
        return f"{mark}[{text}]({target.removeprefix('docs/').replace('.ipynb', '.md')})"
    return link[0] if re.match(r"[a-z]+:|#", target) else text


def _inside(link: re.Match[str]) -> str:
    """A link of a page of docs/."""
    _, text, target = link.groups()
    return f"{text} (`{target.removeprefix('../')}`)" if target.startswith("../") else link[0]


def main(root: Path) -> int:
    """Build the site of a checkout; the exit code."""
    pages(root)
    builder = Path(sys.executable).with_name("zensical")
    return subprocess.run([builder, "build", "--clean", "--strict"], cwd=root).returncode


if __name__ == "__main__":
    sys.exit(main(ROOT))
