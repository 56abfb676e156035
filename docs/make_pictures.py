"""Makes docs/terminal.svg and docs/report.png from a real demo run: ``python docs/make_pictures.py``.

The terminal is a pseudo-terminal whose screen is rendered by pyte, once while a round goes on and once at the end. The report
is photographed by a headless Chromium (Debian's package `chromium`). Look at what it made before you commit it.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from terminal import Terminal  # noqa: E402  # of the tests

COLUMNS = 92


def terminal_picture(place: Path) -> None:
    """The screen while the demo trains its principles, and its end below it."""
    command = ["iteralign", "demo", "--run-dir", "runs/demo"]
    with Terminal(command, place, columns=COLUMNS, patience=1200) as demo:
        demo.until(lambda screen: "round 4 (5 of 10)" in screen and "fine-tuning" in screen and "left" in screen)
        during = [coloured(row) for row in demo.characters if "".join(c.data for c in row).strip()]
        assert demo.end() == 0, demo.text
    lines = demo.text.splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("held-out unacceptable:"))
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in ["$ iteralign demo", *during, "", "  ...", "", *lines[end:], ""]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.save_svg(str(DOCS / "terminal.svg"), title="iteralign demo")


def coloured(row: Sequence[Char]) -> Text:
    """One line of the screen in its colours."""
    text = Text()
    for one in row:
        colour = one.fg if one.fg == "default" or one.fg.isalpha() else f"#{one.fg}"
        text.append(one.data, Style(color=None if colour == "default" else colour, bold=one.bold))
    return text


def report_picture(report: Path) -> None:
    """The top of the page, as a desktop browser shows it."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no Chromium here (Debian: apt install chromium).")
    command = [
        program,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1100,900",
    ]
    subprocess.run([*command, f"--screenshot={DOCS / 'report.png'}", report.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Both pictures, of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        terminal_picture(Path(scratch))
        report_picture(Path(scratch) / "runs" / "demo" / "report.html")


if __name__ == "__main__":
    main()
