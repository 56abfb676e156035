"""`iteralign` in processes of their own, forked from one that has imported what takes a fresh one seconds of processor time.

A command has its own directory, environment, streams and end. That a fresh interpreter does the same is seen where tests start
one: tests/cli/test_cli.py, tests/test_packaging.py, tests/trainers/test_launched.py.

python tests/commands.py DESCRIPTOR       that process; its orders come from this socket
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

OF_A_RUN = (
    *("openai", "trl.trainer.sft_trainer", "transformers.models.llama.modeling_llama"),
    *("iteralign.report.html", "iteralign.runs.run", "iteralign.trainers.sft"),
)


def import_once(names: Sequence[str] = OF_A_RUN) -> None:
    """For processes that are forked afterwards, whose garbage collections leave alone what there is by then."""
    for name in names:
        import_module(name)
    gc.freeze()


class Command:
    """One under way. `streams`: descriptors of its input, output and errors; `without`: packages that it can't import."""

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        terminal: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        order = [["iteralign", *arguments], str(cwd), dict(environment), terminal, list(without)]
        self._told, theirs = os.pipe()
        socket.send_fds(_starter(), [json.dumps(order).encode()], [*streams, theirs])
        os.close(theirs)
        self.pid = int(self._line())
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None."""
        return self.wait(0) if self._code is None and select.select([self._told], [], [], 0)[0] else self._code

    def wait(self, timeout: float | None = None) -> int:
        """As of subprocess."""
        if self._code is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("iteralign", timeout or 0.0)
            self._code = int(self._line())
            os.close(self._told)
        return self._code

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(self._told, 1)
            assert read, "the process that starts commands has ended"
            line += read
        return line


def iteralign(
    *arguments: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    columns: int = 100,
    say: str = "",
    without: Sequence[str] = (),
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `environment`: this process's by default; `say`: what it reads from its input."""
    surroundings = {**(os.environ if environment is None else environment), "COLUMNS": str(columns)}
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
        files[0].write(say)
        files[0].seek(0)
        streams = (files[0].fileno(), files[1].fileno(), files[2].fileno())
        command = Command(arguments, cwd or Path.cwd(), surroundings, streams, without=without)
        try:
            code = command.wait(timeout)
        except BaseException:
            command.send_signal(9)
            raise
        for file in files[1:]:
            file.seek(0)
        return subprocess.CompletedProcess(["iteralign", *arguments], code, files[1].read(), files[2].read())


@functools.cache
def _starter() -> socket.socket:
    """The way to the process that starts commands; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, pass_fds=[theirs.fileno()], start_new_session=True
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _ordered(orders: socket.socket) -> bool:
    """Fork a process for each order and tell its end. True in such a process; False once no more will be ordered."""
    tell: dict[int, int] = {}
    while True:
        while not select.select([orders], [], [], 0.02 if tell else None)[0]:
            _tell_ends(tell)
        message, descriptors, _, _ = socket.recv_fds(orders, 2**20, 4)
        if not message:
            return False
        *streams, told = descriptors
        if not (pid := os.fork()):
            for descriptor in (orders.detach(), told, *tell.values()):
                os.close(descriptor)
            _become(json.loads(message), streams)
            return True
        for descriptor in streams:
            os.close(descriptor)
        tell[pid] = told
        os.write(told, f"{pid}\n".encode())


def _tell_ends(tell: dict[int, int]) -> None:
    for pid in list(tell):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            told = tell.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it
                os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(told)


def _become(order: list[Any], streams: list[int]) -> None:
    """What the order wants this process to be."""
    arguments, cwd, environment, terminal, without = order
    if terminal:
        os.login_tty(os.dup(streams[0]))
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    sys.modules.update(dict.fromkeys(without))


def _main() -> None:
    """The process that starts commands, and each of them once it is one."""
    from iteralign.cli import main, quiet_libraries

    sys.path[0] = ""  # as by `python -c`
    quiet_libraries()
    import_once()
    if _ordered(socket.socket(fileno=int(sys.argv[1]))):
        _end(main)


def _end(main: Callable[[], None]) -> NoReturn:
    """Run it and end like an interpreter, but for taking apart what was imported: that takes as long as a small command."""
    code: object = 0
    try:
        main()
    except SystemExit as ending:
        code = ending.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _main()
