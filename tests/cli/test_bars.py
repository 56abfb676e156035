"""The bars and lines by themselves, on a clock that the test moves."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from rich.console import Console

from iteralign.activity import Work, tell, within
from iteralign.cli.bars import ConsoleProgress
from iteralign.cli.pace import Pace
from iteralign.records import Spent
from iteralign.scoreboard.metrics import RoundMetrics


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def drawn(width: int, **options: object) -> Iterator[tuple[ConsoleProgress, Clock]]:
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False, **options)  # type: ignore[arg-type]
    yield ConsoleProgress(console, clock), clock


class PressesCtrlC(io.StringIO):
    """A screen whose user presses Ctrl-C at the moment at which a round's line appears."""

    pressed = False

    def write(self, text: str) -> int:
        written = super().write(text)
        if "the line" in text and not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)
        return written


def test_ctrl_c_while_a_line_is_printed_does_not_print_it_twice() -> None:
    screen = PressesCtrlC()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            ConsoleProgress(Console(file=screen, width=80, force_terminal=True)) as progress,
            progress.stage(0, 2, "2_verdicts"),
        ):
            progress.note("the line")
    finally:
        signal.signal(signal.SIGINT, before)
    assert screen.pressed and screen.getvalue().count("the line") == 1


def lines_of(progress: ConsoleProgress, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(progress._drawn())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_stage_is_told_in_three_lines_that_fit(width: int) -> None:
    with drawn(width) as (progress, clock):
        progress.spending(lambda: Spent(tokens=12345, cost=0.0123, token_budget=100_000, cost_budget=1.0))
        with progress.stage(3, 10, "4_revisions"):
            progress.advance(Work("judge", 0, 20, "try 2 of 3"))
            clock.now = 100
            progress.advance(Work("judge", 4, 20, "try 2 of 3"))
            first, second, third = lines_of(progress, width)
    assert first.startswith("round 3 (4 of 10) ") and first.endswith(" 1:40")
    assert second.startswith("answering again, try 2 of 3: judg") and second.endswith("4/20 2.4/min    6:40 left")
    assert third == "oracle: 12,345 of 100,000 tokens, $0.0123 of $1.00"
    assert max(map(len, (first, second))) < width - 2


def test_before_anything_moved_it_is_known_what_is_waited_for() -> None:
    with drawn(80) as (progress, _), progress.stage(None, 10, "1_responses"):
        progress.advance(Work("answering", 0, 40))
        first, second = lines_of(progress, 80)
    assert first.startswith("base model ") and second.startswith("answering ") and second.endswith("0/40")


def test_rounds_are_numbered_as_their_directories_are() -> None:
    with drawn(80) as (progress, _):  # no stage yet: a round that was done before a resume
        progress.round_done(RoundMetrics(round=0, prompts=4), 2)
    assert "round 0 (1 of 2): 0 of 4 failed; nothing to learn" in progress.console.file.getvalue()  # type: ignore[attr-defined]


def test_without_bars_a_long_wait_gets_a_line_now_and_then() -> None:
    clock = Clock()
    progress = ConsoleProgress(Console(file=io.StringIO(), width=80), clock)
    with progress, progress.stage(0, 2, "7_held_out"):
        for second in range(100):
            clock.now = second
            progress.advance(Work("answering", second / 5, 40))
    assert progress.console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "round 0 (1 of 2): measuring held-out: answering, 6/40, 0.2/s, 2:50 left",
        "round 0 (1 of 2): measuring held-out: answering, 12/40, 0.2/s, 2:20 left",
        "round 0 (1 of 2): measuring held-out: answering, 18/40, 0.2/s, 1:50 left",
    ]


@pytest.mark.parametrize(("part", "label"), [("", "answering"), ("base", "base: answering")])
def test_work_without_rounds_is_shown_under_its_name(part: str, label: str) -> None:
    with drawn(80) as (progress, _), progress.working("evaluating"):
        tell("answering", 0, 3)
        with within(part) if part else nullcontext():
            tell("answering", 2, 3)
        first, second = lines_of(progress, 80)
    assert first.startswith("evaluating ") and first.endswith(" 0:00")
    assert second.startswith(f"{label} ") and second.endswith(" 2/3")


def test_the_pace_is_measured_from_the_first_move() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell(Work("answering", 0, 100))
    assert pace.rate is None and pace.left is None
    clock.now = 60  # the weights were read
    pace.tell(Work("answering", 1, 100))
    clock.now = 61
    pace.tell(Work("answering", 3, 100))
    assert pace.rate == 2 and pace.left == 48.5
    clock.now = 71
    assert pace.left == 38.5, "it counts down while nothing is told"
    clock.now = 111
    assert pace.left is None, "slower than was thought: by how much is not known"
    pace.tell(Work("judging", 0, 100))
    assert pace.rate is None


def test_one_batch_alone_is_measured_from_its_beginning() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell(Work("answering", 0, 100))
    clock.now = 10
    pace.tell(Work("answering", 50, 100))
    assert pace.rate == 5 and pace.left == 10


def test_the_wait_for_a_batchs_first_token_is_no_pace() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell(Work("answering", 0, 32))
    clock.now = 30
    pace.tell(Work("answering", 0.5, 32))  # the first token of 64, of each of 32 answers
    assert pace.rate is None and pace.left is None
    clock.now = 31
    pace.tell(Work("answering", 1.5, 32))
    assert pace.rate == 1 and pace.left == 30.5


def test_replies_that_come_together_are_no_pace() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.tell(Work("judge", 0, 8))
    clock.now = 20
    pace.tell(Work("judge", 1, 8))
    clock.now = 20.00002
    pace.tell(Work("judge", 2, 8))
    assert pace.rate == pytest.approx(0.1) and pace.left == pytest.approx(60)
    clock.now = 30
    pace.tell(Work("judge", 3, 8))
    assert pace.rate == pytest.approx(0.2), "from the first reply on"
