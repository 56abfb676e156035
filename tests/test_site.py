"""The docs site: its pages are in the navigation and current, broken links are errors; and the notebook runs."""

import importlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from report.conftest import fake_run
from test_public import MODULES, public

import iteralign
from iteralign.report.view import view_of
from iteralign.settings.file import flat
from iteralign.settings.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    """A script of docs/, as a module, which finds those beside it."""
    if str(DOCS) not in sys.path:
        sys.path.append(str(DOCS))
    return importlib.import_module(name)


def navigated(items: Any) -> Iterator[str]:
    """The pages of a navigation."""
    for item in items:
        for title, place in item.items() if isinstance(item, dict) else [("", item)]:
            assert isinstance(title, str)
            yield from [place] if isinstance(place, str) else navigated(place)


def test_every_page_is_in_the_navigation_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = list(navigated(site["nav"]))
    written = {path.with_suffix(".md").name for path in DOCS.iterdir() if path.suffix in (".md", ".ipynb")}
    assert sorted(listed) == sorted({"index.md", "settings.md", *written})


def test_every_setting_is_on_the_page_of_settings() -> None:
    page = script("settings_page").settings_page()
    for name in flat(
        load_settings({"model": {"path": ""}, "data": {"prompts": ""}, "oracle": {"kind": "rules"}}).model_dump()
    ):
        assert f"| `{name}` |" in page, name
    assert (
        "| `training.method` |" in page
        and "whole number, at least 0" in page
        and "| a section | `null` |" in page
        and "| a list of sections | `[]` |" in page
    )
    assert all(line.count(" | ") == 3 for line in page.splitlines() if line.startswith("| `")), "a cell is empty"


def test_the_api_page_has_every_public_name() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    places = [line.removeprefix("::: ") for line in page.splitlines() if line.startswith("::: ")]
    assert {f"iteralign.{module}" for module in MODULES} <= set(places)
    for name in iteralign.__all__:
        thing = getattr(iteralign, name)
        assert f"{thing.__module__}.{name}" in places or thing.__module__ in places, name
    for module in MODULES:
        assert public(module)


def test_a_gallery_shows_every_principle_and_no_question(tmp_path: Path) -> None:
    view = view_of(fake_run(tmp_path / "run"))
    page = script("make_gallery").gallery([("A run", view)])
    table = view.constitution.principles
    rows = [*table.adopted, *table.others]
    assert rows and all(row.text in page for row in rows) and f"### Adopted: {len(table.adopted)}" in page
    assert "Unacceptable answers 100% → 0%" in page and all(sentence in page for sentence in view.limits)
    assert "bad question" not in page
    more = script("make_gallery").gallery([("Another", view), ("A run", view)], page)
    titles = [line for line in more.splitlines() if line.startswith("## ")]
    assert titles == ["## Another", "## A run"] and page.removeprefix(script("make_gallery").HEAD) in more
    assert script("make_gallery").gallery([], more) == more


def test_the_gallery_has_what_the_code_would_write() -> None:
    """Its runs are gone, but its head is the script's."""
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert page.startswith(script("make_gallery").HEAD) and page.count("\n## ") >= 2


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the site is made from."""
    for name in ("docs", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("README.md", "zensical.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_pages_are_put_together_without_links_that_lead_out(checkout: Path) -> None:
    place = script("make_site").pages(checkout)
    first = (place / "index.md").read_text(encoding="utf-8")
    assert "](docs/" not in first and "](quickstart.md)" in first and "](recipes/" not in first
    for page in place.glob("*.md"):
        assert "](../" not in page.read_text(encoding="utf-8"), page.name
    assert "`recipes/paper.yaml`" in (place / "quickstart.md").read_text(encoding="utf-8")
    assert "```python" in (place / "small-run.md").read_text(encoding="utf-8")
    assert "`training.method`" in (place / "settings.md").read_text(encoding="utf-8")
    assert (place / "report.png").exists()


@pytest.mark.slow
def test_the_site_is_built_and_a_broken_link_is_an_error(checkout: Path) -> None:
    pytest.importorskip("zensical", reason="zensical is not installed (make docs installs it)")
    site = script("make_site")
    assert site.main(checkout) == 0
    api = (checkout / "build" / "site" / "api.html").read_text(encoding="utf-8")
    assert 'id="iteralign.records.Principle"' in api and "One rule of a constitution" in api
    with (checkout / "README.md").open("a", encoding="utf-8") as file:
        file.write("\n[nowhere](docs/nowhere.md)\n")
    assert site.main(checkout) != 0


def test_the_notebook_is_committed_with_what_it_printed() -> None:
    cells = json.loads((DOCS / "small-run.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5 and all(cell["outputs"] for cell in code)
    printed = json.dumps(cells)
    assert "Traceback" not in printed and "/tmp/" not in printed and "/home/" not in printed


@pytest.mark.slow
@pytest.mark.timeout(900)  # 40 s of processor time, which a busy machine may not give in the usual five minutes
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(DOCS / "small-run.ipynb", as_version=4)
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    client = NotebookClient(read, timeout=800, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, **environment})
    printed = [
        "".join(output.get("text", "") for output in cell.outputs) for cell in read.cells if cell.cell_type == "code"
    ]
    assert "base" in printed[1] and "round 1" in printed[1] and "mended" in printed[3] and "report.html" in printed[5]
