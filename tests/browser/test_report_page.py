"""The report as people meet it who see, touch, type, print, or are read to."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report.conftest import finished, hostile
from report.test_compare import runs

from iteralign.report.html import write_comparison

from .window import Window

__all__ = ["finished", "hostile", "runs"]

FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const drawn = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  return one === document.body ? null : [one.outerHTML.slice(0, 120), drawn || style.boxShadow !== 'none'];
}"""


def unfold(page: Page) -> None:
    """Everything that a reader could open."""
    page.get_by_label("Show texts that may offend").check()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


@pytest.mark.parametrize("run", ["finished", "hostile"])
def test_nobody_is_shut_out_whatever_the_page_holds(window: Window, run: str, request: pytest.FixtureRequest) -> None:
    place: Path = request.getfixturevalue(run)
    loaded: list[str] = []
    window.page.on("request", lambda asked: loaded.append(asked.url))
    window.page.goto((place / "report.html").as_uri())
    window.look(f"report-{run}")
    unfold(window.page)
    expect(window.page.locator(".pair .body").first).to_be_visible()
    window.look(f"report-{run}-unfolded")
    assert loaded == [(place / "report.html").as_uri()], "the page loads nothing"


def test_nobody_is_shut_out_of_runs_side_by_side(window: Window, runs: list[Path], tmp_path: Path) -> None:
    window.page.goto(write_comparison(runs[:2], tmp_path / "compared.html").as_uri())
    window.look("compare")
    unfold(window.page)
    window.look("compare-unfolded")


def test_the_gain_is_read_without_scrolling(page: Page, finished: Path) -> None:
    page.goto((finished / "report.html").as_uri())
    expect(page.get_by_text("on 16 held-out questions").first).to_be_in_viewport()


def test_everything_is_reached_by_the_tab_key_and_is_seen_to_be(page: Page, finished: Path) -> None:
    page.goto((finished / "report.html").as_uri())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the result")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the result")).to_be_in_viewport()
    reached: list[tuple[str, bool]] = []
    while (focus := page.evaluate(FOCUS)) is not None and len(reached) < 500:
        reached.append(focus)
        page.keyboard.press("Tab")
    assert [place for place, seen in reached if not seen] == []
    places = page.evaluate(
        "[...document.querySelectorAll('a, summary, select, input, button')].filter((one) => one.checkVisibility()).length"
    )
    assert places <= len(reached) < 500


def test_an_answer_is_found_opened_and_uncovered_by_keyboard(page: Page, finished: Path) -> None:
    page.goto((finished / "report.html").as_uri())
    page.get_by_role("searchbox").focus()
    page.keyboard.type("a bad question, number 1")
    first = page.locator(".pair").first
    expect(page.get_by_role("status")).to_contain_text("fit")
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    question = first.locator(".body .q .veil > span")
    expect(question).to_have_text(re.compile("a bad question, number 1"))
    expect(question).not_to_be_visible()
    page.get_by_label("Show texts that may offend").focus()
    page.keyboard.press("Space")
    expect(question).to_be_visible()
    page.get_by_label("Show texts that may offend").focus()
    page.keyboard.press("Space")
    expect(question).not_to_be_visible()


def test_the_covered_texts_are_uncovered_by_a_touch_or_a_click(window: Window, finished: Path) -> None:
    page = window.page
    page.goto((finished / "report.html").as_uri())
    covered = page.locator(".veil > span").first
    covered.scroll_into_view_if_needed()
    expect(covered).not_to_be_visible()
    switch = page.get_by_text("Show texts that may offend")
    switch.tap() if window.size == "phone" else switch.click()
    expect(covered).to_be_visible()


def test_paper_has_no_controls(window: Window, finished: Path) -> None:
    page = window.page
    page.goto((finished / "report.html").as_uri())
    page.emulate_media(media="print")
    page.pdf(path=window.pictures / f"report-{window.size}.pdf")
    expect(page.get_by_role("main")).to_be_visible()
    for control in (page.get_by_role("navigation"), page.get_by_role("searchbox"), page.get_by_text("Show more")):
        expect(control).not_to_be_visible()
    body, title, ink = (
        page.locator(name).first.evaluate("(one, of) => getComputedStyle(one)[of]", of)
        for name, of in (("body", "fontSize"), ("h3", "fontSize"), ("body", "color"))
    )
    assert float(title.removesuffix("px")) >= float(body.removesuffix("px"))
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("body").evaluate("one => getComputedStyle(one).color") == ink, "light letters on white paper"
