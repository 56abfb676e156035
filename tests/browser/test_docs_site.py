"""The docs site as people meet it who see, touch, or are read to."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .window import COLOURS, Window

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("index", "gallery", "settings", "cli")
"""One of each kind: text with a picture, long tables, what is made of the settings and of the command line."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a directory."""

    def log_message(self, format: str, *args: object) -> None:
        """Not into the tests' output."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Where the site is given out that `make docs` has built."""
    place = ROOT / "build" / "site"
    if not (place / "index.html").exists():
        pytest.skip("no docs site is built here (make docs)")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=place)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_shut_out_of_the_docs(window: Window, site: str, name: str) -> None:
    window.page.emulate_media(color_scheme="dark")  # the theme asks for it once, when a page is opened
    window.page.goto(f"{site}/{name}.html")
    assert window.barriers(COLOURS) == []
    window.page.emulate_media(color_scheme="light")
    window.page.goto(f"{site}/{name}.html")
    window.look(f"docs-{name}")
