"""Whatever became of the files of a run directory: each command that reads it shows something, or says what is wrong.

`python tests/rundir/test_run_directory_fuzz.py SEED COUNT` runs a campaign of any length and prints what gave a traceback.
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from report.conftest import fake_run

from iteralign.cli.app import app
from iteralign.errors import IteralignError

COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "status": lambda run, out: ["status", str(run)],
    "status --json": lambda run, out: ["status", str(run), "--json"],
    "report": lambda run, out: ["report", str(run), "-o", str(out / "report.html")],
    "card": lambda run, out: ["card", str(run), "-o", str(out / "cards")],
    "compare": lambda run, out: ["compare", str(run), str(run)],
    "constitution show": lambda run, out: ["constitution", "show", str(run)],
    "constitution diff": lambda run, out: ["constitution", "diff", str(run), "0", "1"],
    "constitution export": lambda run, out: ["constitution", "export", str(run)],
    "export": lambda run, out: ["export", str(run), "-o", str(out / "pairs.jsonl")],
    "export --format dpo": lambda run, out: ["export", str(run), "--format", "dpo", "-o", str(out / "dpo.jsonl")],
    "plan": lambda run, out: ["plan", str(run / "config.yaml")],
    "verify": lambda run, out: ["verify", str(run)],
    "verify --json": lambda run, out: ["verify", str(run), "--json"],
    "trace a principle": lambda run, out: ["trace", str(run), "r0000-01"],
    "trace a row": lambda run, out: ["trace", str(run), "0:1", "--json"],
}
OTHER = (
    *("null", "[]", "{}", "0", "-1", '"text"', "true", "[null]", "[[]]", "[1]", "[{}]", '{"a": 1}', "1e999", "NaN"),
    "",
)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) or 1)]


def _without_a_line(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[draw.randrange(len(lines)) :][:1]
    return b"".join(lines[: draw.randrange(len(lines) + 1)])


def _with_another_byte(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]


def _with_other_values(data: bytes, draw: random.Random) -> bytes:
    """Valid JSON with a value inside replaced by one of another type, in one line of it."""
    lines = data.decode("utf-8", "replace").split("\n")
    whole = len(lines) > 1 and lines[0].strip() in ("{", "[")
    place = 0 if whole else draw.randrange(len(lines))
    try:
        value = json.loads(data if whole else lines[place])
    except ValueError:
        return _cut(data, draw)
    changed = json.dumps(_changed(value, draw))
    return (changed if whole else "\n".join([*lines[:place], changed, *lines[place + 1 :]])).encode()


def _changed(value: object, draw: random.Random) -> object:
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        if draw.random() < 0.15:
            return {name: one for name, one in value.items() if name != key}
        return value | {key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    return draw.choice(
        [None, [], {}, "text", -1, 0, 10**30, 1e308, True, [None], {"a": []}, "\ud83d", "\x1b[2J", float("nan")]
    )


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _without_a_line,
    _with_another_byte,
    _with_other_values,
    _with_other_values,
    _with_other_values,
    lambda data, draw: b"",
    lambda data, draw: draw.choice(OTHER).encode() + b"\n",
    lambda data, draw: draw.choice(["[", '{"a":', "- ", "{a: "]).encode() * draw.choice([70, 1000, 50_000]),
    lambda data, draw: draw.randbytes(200),
    lambda data, draw: b"\xff\xfe" + data,
    lambda data, draw: data + b"\x00",
)


OTHER_KINDS: tuple[Callable[[Path], object], ...] = (
    lambda file: None,
    Path.mkdir,
    lambda file: file.symlink_to(file.name),  # a loop
    lambda file: file.symlink_to("/dev/zero"),
    os.mkfifo,
)
"""In the place of a file."""


@contextlib.contextmanager
def damaged(run: Path, file: Path, draw: random.Random) -> Iterator[str]:
    """One file of the run changed for a while."""
    kept = file.read_bytes()
    kind = draw.randrange(len(DAMAGES) + len(OTHER_KINDS))
    try:
        if kind < len(DAMAGES):
            file.write_bytes(DAMAGES[kind](kept, draw))
        else:
            file.unlink()
            OTHER_KINDS[kind - len(DAMAGES)](file)
        yield f"{file.relative_to(run)} ({kind})"
    finally:
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        file.unlink(missing_ok=True)
        file.write_bytes(kept)


def _page() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


@contextlib.contextmanager
def _limited(seconds: int = 120) -> Iterator[None]:
    def wake(*_: object) -> None:
        raise TimeoutError("it does not end")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(arguments: list[str]) -> str:
    """`fine`, `said`, or the end of a traceback; of one, too, where a command would wait for ever."""
    with contextlib.redirect_stdout(_page()), contextlib.redirect_stderr(_page()), _limited():
        try:
            app(arguments, standalone_mode=False)
        except IteralignError as error:
            return (
                "said"
                if str(error).strip() and len(str(error)) < 3000
                else f"a message of {len(str(error))} characters"
            )
        except SystemExit:
            return "fine"
        except BaseException as error:
            if type(error).__name__ == "Exit":
                return "fine"
            place = traceback.extract_tb(error.__traceback__)[-1]
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "iteralign/" in frame.filename][-1]
            return (
                f"{type(error).__name__}: {str(error)[:100]} at {Path(ours.filename).name}:{ours.lineno}, {place.name}"
            )
    return "fine"


def campaign(run: Path, seed: int, count: int) -> tuple[dict[str, int], list[str]]:
    """(how often each outcome, what gave a traceback) of `count` reads."""
    draw = random.Random(seed)
    files = sorted(
        path for path in run.rglob("*") if path.is_file() and "model" not in path.parts and path.name != ".lock"
    )
    files = [path for path in files if path.suffix in (".json", ".jsonl", ".yaml", ".md")]
    top = [path for path in files if path.parent in (run, run / "oracle")]
    found: dict[str, int] = {}
    bad: list[str] = []
    for number in range(count):
        file = draw.choice(top if draw.random() < 0.6 else files)
        name = sorted(COMMANDS)[number % len(COMMANDS)]
        with tempfile.TemporaryDirectory() as place, damaged(run, file, draw) as what:
            ended = outcome(COMMANDS[name](run, Path(place)))
        if ended not in ("fine", "said"):
            bad.append(f"{name}: {what}: {ended}")
            ended = "traceback"
        found[ended] = found.get(ended, 0) + 1
    return found, bad


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run(tmp_path_factory.mktemp("fuzz") / "run")


def test_an_undamaged_run_is_read_by_every_command(run: Path, tmp_path: Path) -> None:
    assert {name: outcome(arguments(run, tmp_path)) for name, arguments in COMMANDS.items()} == dict.fromkeys(
        COMMANDS, "fine"
    )


def test_damaged_files_give_one_message_or_none(run: Path) -> None:
    found, bad = campaign(run, seed=13, count=220)
    assert bad == []
    assert found["said"] > 10 and found["fine"] > 40


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        seed, count = int(sys.argv[1]), int(sys.argv[2])
        found, bad = campaign(fake_run(Path(directory) / "run"), seed, count)
    print("\n".join(sorted(set(bad))))
    print(f"seed {seed}, {count} reads: {found}")
    sys.exit(bool(bad))
