"""The page in a real browser: its script runs under its policy, searches, filters, folds, and keeps hostile text harmless."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from iteralign.records import Principle
from iteralign.report.html import page, write_comparison
from iteralign.report.principles import Rounds, principle_table
from iteralign.report.view import Constitution, view_of

from .conftest import HOSTILE

Browser = Callable[..., str]


def test_answers_are_listed_and_bad_ones_covered_until_asked_for(browser: Browser, finished: Path) -> None:
    file = finished / "report.html"
    dom = browser(file)
    assert '<details class="pair">' in dom and "fit;" in dom
    assert browser(file, "return document.querySelectorAll('.pair .body').length") == "0", (
        "no long text before it is opened"
    )
    script = """
      document.getElementById('f-set').value = 'held-out';
      document.getElementById('f-set').dispatchEvent(new Event('change'));
      const pair = document.querySelector('.pair');
      pair.open = true; pair.dispatchEvent(new Event('toggle'));
      const seen = (place) => getComputedStyle(place.querySelector('.veil > span') || place).visibility;
      const parts = () => ['.clip.q', '.clip.before', '.clip.after', '.body .q'].map((one) => seen(pair.querySelector(one)));
      const covered = parts();
      document.getElementById('texts').click();
      return JSON.stringify([covered, parts(), pair.innerText]);
    """
    covered, shown, text = json.loads(browser(file, script))
    assert covered == ["hidden", "hidden", "visible", "hidden"] and shown == ["visible"] * 4
    assert "before" in text and "I'm sorry, but I can't help with that." in text


def test_search_and_filters(browser: Browser, finished: Path) -> None:
    script = """
      const data = JSON.parse(document.getElementById('data').textContent);
      const set = document.getElementById('f-set');
      const measured = document.getElementById('found').textContent;
      set.value = 'held-out'; set.dispatchEvent(new Event('change'));
      const all = document.getElementById('found').textContent;
      const text = document.getElementById('f-text');
      text.value = data['held-out'][3].question; text.dispatchEvent(new Event('input'));
      const one = document.getElementById('found').textContent;
      text.value = 'no such words anywhere'; text.dispatchEvent(new Event('input'));
      const none = document.getElementById('found').textContent;
      return JSON.stringify([measured, all, one, none, data['held-out'].length, data['benign'].length]);
    """
    measured, every, one, none, count, benign = json.loads(browser(finished / "report.html", script))
    assert measured.startswith(f"{count + benign} of {count + benign} fit")
    assert every.startswith(f"{count} of {count} fit") and one.startswith("1 of") and none.startswith("0 of")


def test_the_constitution_is_sorted_by_its_columns(browser: Browser, finished: Path, tmp_path: Path) -> None:
    counts = (2, 10, 1)
    principles = [
        Principle(id=f"r0-{n}", text="Be kind.", round=0, status="adopted", evidence=("p",) * n) for n in counts
    ]
    shown = replace(view_of(finished), constitution=Constitution(principle_table(principles, {}, Rounds()), []))
    (tmp_path / "sorted.html").write_text(page(shown), encoding="utf-8")
    script = """
      const rows = () => [...document.querySelectorAll('.ledger tbody:first-of-type tr')];
      const column = () => rows().map((row) => +row.cells[1].dataset.value);
      const head = document.querySelector('.ledger thead th:nth-child(2)');
      head.querySelector('button').click();
      const down = column(), first = head.getAttribute('aria-sort');
      head.querySelector('button').click();
      return JSON.stringify([down, column(), first, head.getAttribute('aria-sort')]);
    """
    down, up, first, second = json.loads(browser(tmp_path / "sorted.html", script))
    assert (down, up) == ([10, 2, 1], [1, 2, 10])
    assert (first, second) == ("descending", "ascending")


def test_nothing_of_a_hostile_run_comes_alive(browser: Browser, hostile: Path) -> None:
    script = """
      document.querySelectorAll('details').forEach((one) => { one.open = true; });
      document.getElementById('texts').click();
      document.querySelectorAll('.pair').forEach((one) => one.dispatchEvent(new Event('toggle')));
      return JSON.stringify({
        title: document.title,
        alive: document.querySelectorAll('img, iframe, main svg:not(.curve):not(.share):not(.key), main style').length,
        scripts: document.scripts.length,
        said: [...document.querySelectorAll('.pair .said')].map((one) => one.textContent).join(),
        shown: getComputedStyle(document.body).display,
      });
    """
    found = json.loads(browser(hostile / "report.html", script))
    assert found["title"] == "run · iteralign" and found["alive"] == 0 and found["shown"] == "block"
    assert found["scripts"] == 3, "the data, the page's own and the test's"
    assert all(text[:10] in found["said"] for text in HOSTILE)


def test_the_policy_stops_a_script_that_is_not_the_pages(browser: Browser, finished: Path, tmp_path: Path) -> None:
    injected = tmp_path / "injected.html"
    text = (finished / "report.html").read_text(encoding="utf-8")
    injected.write_text(text.replace("</main>", "<script>document.title = 'owned'</script></main>"), encoding="utf-8")
    assert browser(injected, "return document.title") == "run · iteralign"


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(browser: Browser, finished: Path, hostile: Path, width: int) -> None:
    for run in (finished, hostile):
        script = """
          document.querySelectorAll('details').forEach((one) => { one.open = true; });
          return document.documentElement.scrollWidth - window.innerWidth;
        """
        assert int(browser(run / "report.html", script, width)) <= 0


@pytest.mark.parametrize("width", [360, 1200])
def test_runs_side_by_side_fit_the_window_and_nothing_in_them_comes_alive(
    browser: Browser, finished: Path, hostile: Path, tmp_path: Path, width: int
) -> None:
    file = write_comparison([finished, hostile, finished], tmp_path / "compared.html")
    script = """
      document.querySelectorAll('details').forEach((one) => { one.open = true; });
      document.getElementById('texts').click();
      const alive = document.querySelectorAll('img, iframe, main style').length;
      return JSON.stringify([document.documentElement.scrollWidth - window.innerWidth, alive, document.title]);
    """
    over, alive, title = json.loads(browser(file, script, width))
    assert over <= 0 and alive == 0 and " beside " in title


def test_everything_that_can_be_operated_takes_the_keyboard(browser: Browser, finished: Path) -> None:
    script = """
      const places = [...document.querySelectorAll('a, summary, select, input, button, .scroll')];
      return places.filter((one) => one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 80)).join();
    """
    assert browser(finished / "report.html", script) == ""
    script = """
      const labelled = (one) => one.labels.length > 0;
      return [...document.querySelectorAll('select, input')].every(labelled);
    """
    assert browser(finished / "report.html", script) == "true"
