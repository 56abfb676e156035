"""A demo from its start over a person's review to its end, as it is seen in the pages of `iteralign view`."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from iteralign import layout
from iteralign.activity import round_name
from iteralign.report.status import read_status
from iteralign.rundir.labels import sample
from iteralign.rundir.reader import read_run

from .window import Window

PATIENCE = 1_200_000
"""Milliseconds for what the run itself has to do; the machine may be busy."""
SMALL = ("data.limit=40", "data.benign_limit=100", "constitution.review=required")
COMMAND = [sys.executable, "-m", "iteralign"]


@contextmanager
def viewer(directory: Path) -> Iterator[str]:
    """The address of a server of the runs there."""
    command = [*COMMAND, "view", str(directory), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "400"}) as server:
        assert server.stdout is not None
        try:
            yield next(word for line in server.stdout for word in line.split() if word.startswith("http"))
        finally:
            server.terminate()


@contextmanager
def working(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that goes on meanwhile."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, text=True) as command:
        try:
            yield command
        finally:
            command.kill()


@contextmanager
def held(run: "subprocess.Popen[str]", until: Path) -> Iterator[None]:
    """The run stands still from the moment at which this file is there, so that what its page says can be looked at."""
    while not until.exists():
        assert run.poll() is None, "it ended before"
        time.sleep(0.01)
    run.send_signal(signal.SIGSTOP)
    yield
    run.send_signal(signal.SIGCONT)


def doing(run: Path) -> str:
    """What a page says of a run that stands still: its round and its stage, as its files have them."""
    status = read_status(run)
    assert status.next_round is not None and status.next_stage is not None
    stage = layout.stage_named(status.next_stage)
    assert stage is not None
    return rf"^\s*running\s*{re.escape(round_name(status.next_round, status.rounds))}: {re.escape(stage.in_full)}"


@pytest.mark.timeout(3600)
def test_a_demo_is_watched_reviewed_and_finished(chromium: Browser, pictures: Path, tmp_path: Path) -> None:
    """By two people, one at a desk and one with a phone."""
    demo = tmp_path / "demo"
    with (
        viewer(tmp_path) as address,
        Window.opened(chromium, "desktop", pictures) as desk,
        Window.opened(chromium, "phone", pictures) as phone,
    ):
        desk.page.goto(address)
        expect(desk.page.get_by_text("There is no run here yet")).to_be_visible()
        desk.look("view-nothing")
        with working("demo", "--run-dir", str(demo), *(word for one in SMALL for word in ("--set", one))) as run:
            entry = desk.page.get_by_role("link", name="demo")
            with held(run, demo / layout.ENVIRONMENT):
                expect(entry).to_be_visible()
                entry.click()
                desk.page.wait_for_url("**/run?*")
                phone.page.goto(desk.page.url)
                for window in (desk, phone):
                    expect(window.page.locator(".doing")).to_have_text(re.compile(doing(demo)))
            expect(desk.page.get_by_role("link", name="Review them")).to_be_visible(timeout=PATIENCE)
            assert run.wait() == 4, "it waits for a person"
        review(desk, phone)
        command = desk.page.locator("#all-done code").inner_text()
        assert command == f"iteralign resume {demo}"
        desk.page.get_by_role("link", name="demo").click()
        with working(*command.split()[1:]) as run:
            assert run.wait() == 4, "what was edited is tried again, and then it waits once more"
        expect(desk.page.locator(".doing .chip")).to_have_text("waiting")
        again(phone)
        phone.page.goto(desk.page.url)
        with working(*command.split()[1:]) as run:
            # Stages quicker than half a second are written together; before this file and behind it they take seconds.
            with held(run, demo / layout.round_directory(0) / layout.REVISIONS.file):
                for window in (desk, phone):
                    expect(window.page.locator(".doing")).to_have_text(re.compile(doing(demo)))
                    expect(window.page.get_by_role("heading", name="Newest failures")).to_be_visible()
                    window.look("view-running")
            assert run.wait() == 0
        expect(desk.page.locator(".doing .chip")).to_have_text("finished")
        for window in (desk, phone):
            finished(window, address)
    first, second, *_, last = read_run(demo).constitution()[0]
    assert first.text.endswith(" Say why.")
    assert (first.status, second.status, last.status) == ("adopted", "merged", "rejected")
    given = [(label.label, label.by) for _, label in sample(read_run(demo))]
    assert given == [("acceptable", "Ann"), ("undetermined", "Bo")], "a random sample, in the order that chance drew"


def review(desk: Window, phone: Window) -> None:
    """By keys the first is edited at the desk and the second merged with it; the phone is told, and rejects the last."""
    for window in (desk, phone):
        window.page.get_by_role("link", name="Review them").click()
        window.page.get_by_label("Your name").fill({"desktop": "Ann", "phone": "Bo"}[window.size])
        window.look("view-review")
    cards = desk.page.locator(".principle-card")
    count = cards.count()
    assert count >= 3
    keys, left = desk.page.keyboard, desk.page.get_by_role("status")
    cards.first.focus()
    keys.press("e")
    keys.press("Control+End")
    keys.type(" Say why.")
    keys.press("Tab")
    keys.press("Tab")
    keys.type("a reader wants the reason")
    keys.press("Enter")
    expect(left).to_have_text(f"{count - 1} of {count} to decide")
    expect(cards.nth(1)).to_be_focused()
    keys.press("m")
    expect(cards.nth(1).get_by_label("Into")).to_be_focused()
    keys.press("ArrowDown")
    expect(cards.nth(1).get_by_label("Into")).to_have_value(cards.first.get_attribute("data-id") or "")
    keys.press("Tab")
    keys.press("Enter")
    expect(left).to_have_text(f"{count - 2} of {count} to decide")
    for number in range(2, count - 1):
        expect(cards.nth(number)).to_be_focused()
        keys.press("a")
        expect(left).to_have_text(f"{count - 1 - number} of {count} to decide")

    first, last = phone.page.locator(".principle-card").first, phone.page.locator(".principle-card").last
    first.get_by_role("button", name="Accept").tap()
    expect(first.get_by_role("alert")).to_contain_text("Ann has decided meanwhile: edit")
    assert [told for told in phone.complaints if "409" not in told] == []
    phone.complaints.clear()
    phone.page.reload()
    expect(first.locator(".decided")).to_have_text("edit by Ann")
    last.get_by_label("Why (optional)").fill("said already")
    last.get_by_role("button", name="Reject").tap()
    expect(phone.page.get_by_text("All decided.")).to_be_visible()
    desk.page.reload()
    expect(cards.last.locator(".decided")).to_have_text("reject by Bo")
    for window in (desk, phone):
        window.look("view-decided")


def again(phone: Window) -> None:
    """The edited one, with its new trial."""
    phone.page.get_by_role("link", name="demo").tap()
    phone.page.get_by_role("link", name="Review them").tap()
    expect(phone.page.get_by_role("status")).to_have_text("1 of 1 to decide")
    expect(phone.page.get_by_role("heading", level=2)).to_contain_text("Say why.")
    phone.page.get_by_role("button", name="Accept").tap()
    expect(phone.page.get_by_text("All decided.")).to_be_visible()


def finished(window: Window, address: str) -> None:
    """What was gained is on the first page and on the run's, whose answers are searched."""
    page: Page = window.page
    page.goto(address)
    expect(page.get_by_text("→").first).to_be_visible()
    window.look("view-runs")
    page.get_by_role("link", name="demo").click()
    expect(page.locator("#result .lead")).to_contain_text("held-out questions")
    expect(page.locator(".pair").first).to_be_visible(timeout=PATIENCE)
    window.look("view-finished")
    page.get_by_role("searchbox").fill("no such words anywhere")
    expect(page.locator("#found")).to_contain_text("0 of")
    page.get_by_role("searchbox").fill("")
    page.locator(".pair summary").first.click()
    expect(page.locator(".pair .body").first).to_be_visible()
    page.get_by_label("Show texts that may offend").check()
    window.look("view-unfolded")
    label(window)


def label(window: Window) -> None:
    """An answer that chance draws: the judge's verdict is told after the person's, and the next answer opens."""
    page = window.page
    page.get_by_label("Your name").fill({"desktop": "Ann", "phone": "Bo"}[window.size])
    page.get_by_role("combobox", name="Questions").select_option("drawn")
    expect(page.locator("#list[aria-busy]")).to_have_count(0)
    # The list has those without a label, in the order of the draw.
    answer, following = page.locator(".pair").nth(0), page.locator(".pair").nth(1)
    answer.locator("summary").click()
    expect(answer.locator(".columns .chip")).to_have_text("not told yet")
    if window.size == "desktop":
        answer.get_by_role("button", name="Acceptable", exact=True).focus()
        page.keyboard.press("Enter")
    else:
        answer.get_by_role("button", name="Can't tell").tap()
    expect(following.get_by_role("button", name="Acceptable", exact=True)).to_be_focused()
    expect(answer.locator(".columns .chip")).to_contain_text("judge: ")
    window.look("view-labels")
