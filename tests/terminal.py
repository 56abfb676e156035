"""A command on a pseudo-terminal, seen as the person in front of it sees it: what it draws is rendered as a screen by pyte."""

import contextlib
import os
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyte
from commands import Command

ROWS = 24
_NEW_FRAME = rb"(?=\r\x1b\[2K)"
"""What rich begins to draw with; the frame before it is whole."""


class Terminal:
    """Runs `command` until `end`; every screen that stood still for a moment is kept in `seen`.

    A command that begins with `iteralign` is one of commands.py.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        *,
        columns: int = 80,
        term: str = "xterm-256color",
        patience: float = 120.0,
    ) -> None:
        """`patience`: seconds until a screen that does not come, or an end, fails the test."""
        self.columns = columns
        self.patience = patience
        self.raw = b""
        self.seen: list[str] = []
        self._screen = pyte.HistoryScreen(columns, ROWS, history=2000)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (ROWS, columns))
        left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        environment |= {"TERM": term, "OMP_NUM_THREADS": "1"}
        self._process: Command | subprocess.Popen[bytes]
        if command[0] == "iteralign":
            self._process = Command(command[1:], cwd, environment, (slave, slave, slave), terminal=True)
        else:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environment, preexec_fn=lambda: os.login_tty(slave), pass_fds=[slave]
            )
        os.close(slave)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._master)

    def until(self, shown: Callable[[str], bool]) -> str:
        """Wait for a screen on which `shown` is true, and return it."""
        deadline = time.monotonic() + self.patience
        if shown(self.screen):
            return self.screen
        while True:
            looked_at = len(self.seen)
            alive = self._read(deadline)
            for screen in [*self.seen[looked_at:], self.screen]:
                if shown(screen):
                    return screen
            assert alive, f"the command ended, and the screen never came:\n{self.text}"

    def type(self, keys: str) -> None:
        """As if they were pressed; \\x03 is Ctrl-C."""
        os.write(self._master, keys.encode())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The command stands still meanwhile."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """Wait for the command's end; its exit code."""
        deadline = time.monotonic() + self.patience
        while self._read(deadline):
            pass
        return self._process.wait()

    @property
    def screen(self) -> str:
        """What stands there now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def characters(self) -> list[list[pyte.screens.Char]]:
        """What stands there now, each character with its colours."""
        return [[self._screen.buffer[row][column] for column in range(self.columns)] for row in range(ROWS)]

    @property
    def text(self) -> str:
        """With what has scrolled out of sight."""
        above = ["".join(line[column].data for column in range(self.columns)) for line in self._screen.history.top]
        return "\n".join([*(line.rstrip() for line in above), self.screen])

    def _read(self, deadline: float) -> bool:
        """Take in a little of what was written, so that no frame is missed however late we are; False at its end."""
        if not select.select([self._master], [], [], 0.02)[0]:
            self._keep()
            left = deadline - time.monotonic()
            assert left > 0, f"nothing new for too long:\n{self.text}"
            if not select.select([self._master], [], [], left)[0]:
                return True
        try:
            chunk = os.read(self._master, 256)
        except OSError:  # Linux says so when the last holder of the other end is gone
            return False
        self.raw += chunk
        for piece in re.split(_NEW_FRAME, chunk):
            if re.match(_NEW_FRAME, piece):
                self._keep()
            self._stream.feed(piece)
        return bool(chunk)

    def _keep(self) -> None:
        if not self.seen or self.seen[-1] != self.screen:
            self.seen.append(self.screen)
