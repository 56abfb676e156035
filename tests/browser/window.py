"""A page of the size of a desktop or of a phone, and what has to be true of it whatever it shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
STANDARD = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
"""What axe looks for: WCAG 2.2, levels A and AA, and what is usual beyond that."""
COLOURS = {"type": "rule", "values": ["color-contrast"]}
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SWITCH = "(on) => { const texts = document.getElementById('texts'); if (texts) texts.checked = on; }"


@dataclass(frozen=True)
class Window:
    """One tab of one size. What its scripts and its policy complain of is in `complaints`."""

    page: Page
    size: str
    pictures: Path
    complaints: list[str]

    @classmethod
    @contextmanager
    def opened(cls, browser: Browser, size: str, pictures: Path) -> Iterator["Window"]:
        """Fails in the end where the page had any complaint. A page that does not react for three minutes fails, too."""
        context = browser.new_context(**SIZES[size], reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(180_000)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        yield cls(page, size, pictures, complaints)
        context.close()
        assert complaints == []

    def look(self, name: str) -> None:
        """Keep a picture by light and by dark; fail where something is wider than the window, or where axe finds a
        barrier to somebody who sees, hears or moves otherwise."""
        self.page.emulate_media(color_scheme="dark")
        self.page.screenshot(path=self.pictures / f"{name}-{self.size}-dark.png")
        problems = [f"by dark, {barrier}" for barrier in self.barriers(COLOURS)]
        self.page.emulate_media(color_scheme="light")
        self.page.screenshot(path=self.pictures / f"{name}-{self.size}.png", full_page=True)
        problems += self.barriers(STANDARD)
        if (too_wide := self.page.evaluate(TOO_WIDE)) > 0:
            problems.append(f"{too_wide} pixels are out of sight")
        assert not problems, "\n".join([f"{name}, {self.size}:", *problems])

    def barriers(self, rules: dict[str, Any]) -> list[str]:
        """What axe finds, one a line with the place. Covered texts are uncovered for it: it takes what a cover would hide
        beyond its clip for the ground of what stands there."""
        switch = self.page.evaluate("document.getElementById('texts')?.checked")
        self.page.evaluate(SWITCH, True)
        found = Axe().run(self.page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
        self.page.evaluate(SWITCH, switch)
        return [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]
