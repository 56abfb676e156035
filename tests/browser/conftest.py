"""A real browser before real pages: Playwright drives a Chromium. `make test-browser` runs these tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .window import SIZES, Window

expect.set_options(timeout=180_000)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where every page that was looked at is kept as a picture."""
    named = os.environ.get("ITERALIGN_BROWSER")
    if not named:
        pytest.skip("a browser is driven by `make test-browser` (ITERALIGN_BROWSER names where its pictures go)")
    place = Path(named).resolve()
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture(scope="session")
def chromium(pictures: Path) -> Iterator[Browser]:
    """The browser of this machine; Playwright's own need not be downloaded."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"], timeout=120_000
        )
        yield browser
        browser.close()


@pytest.fixture(params=sorted(SIZES))
def window(request: pytest.FixtureRequest, chromium: Browser, pictures: Path) -> Iterator[Window]:
    """An empty page on a desktop, and then on a phone."""
    with Window.opened(chromium, request.param, pictures) as one:
        yield one


@pytest.fixture
def page(window: Window) -> Page:
    """What Playwright drives."""
    return window.page
