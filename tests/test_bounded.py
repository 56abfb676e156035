"""Small files that would take all memory or never end: one message, in bounded memory and time."""

import gzip
import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iteralign.constitution.given import read_constitution
from iteralign.constitution.review import read_sheet
from iteralign.data.files import read_rows
from iteralign.errors import ConfigError, DataError
from iteralign.oracles.guards.families import Safeguard
from iteralign.oracles.guards.policy import policy_principles
from iteralign.prompts import read_template
from iteralign.records import RedTeamPrompt
from iteralign.settings.file import read_yaml
from iteralign.steps.measure import file_texts
from iteralign.text.bounded import MAX_DEPTH, MAX_TEXT, BeyondBounds, load_json, load_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MEMORY = 1_500 * 1024**2
"""Bytes that a reader may take beyond what Python and pyarrow have mapped when they are loaded."""

READ = """
import resource, sys
from pathlib import Path
import pyarrow.parquet, pyarrow.compute
from iteralign.data.files import read_rows
from iteralign.errors import DataError
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    rows = read_rows(Path(sys.argv[1]))
except DataError as error:
    print(f"refused: {error}")
else:
    print(len(rows), "rows")
"""


def read_in_bounded_memory(path: Path) -> str:
    """What a process of its own says of the file; it is killed after a minute of computing."""
    return in_bounded_memory(READ, str(path), str(MEMORY))


def in_bounded_memory(code: str, *arguments: str) -> str:
    if not sys.platform.startswith("linux"):
        pytest.skip("RLIMIT_AS and /proc are Linux's")
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


def test_a_small_file_of_records_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(RedTeamPrompt(id=f"{n}", question="Why?").model_dump_json() + "\n" for n in range(3)))
    code = """
        import resource, sys
        from pathlib import Path
        from iteralign.records import RedTeamPrompt
        from iteralign.rundir.jsonl import read_records
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + 64 * 1024**2,) * 2)
        print(len(read_records(Path(sys.argv[1]), RedTeamPrompt)), "records")
    """
    assert in_bounded_memory(code, str(path)) == "3 records\n"


def parquet(tmp_path: Path, table: Any) -> Path:
    from pyarrow import parquet

    path = tmp_path / "bomb.parquet"
    parquet.write_table(table, path, compression="zstd", row_group_size=10**9)
    assert path.stat().st_size < 64 * 1024
    return path


def repeated(rows: int, length: int) -> Any:
    import pyarrow

    indices = pyarrow.array([0] * rows, pyarrow.int32())
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["How? " * (length // 5)]))


def test_a_text_that_a_dictionary_repeats_is_counted_as_often_as_it_occurs(tmp_path: Path) -> None:
    import pyarrow

    path = parquet(tmp_path, pyarrow.table({"question": repeated(200_000, 100_000)}))
    assert "take more than" in read_in_bounded_memory(path)


def test_the_same_within_lists(tmp_path: Path) -> None:
    import pyarrow

    lists = pyarrow.ListArray.from_arrays(
        pyarrow.array([0, 100_000], pyarrow.int32()), pyarrow.array(["q" * 2000] * 100_000)
    )
    assert "take more than" in read_in_bounded_memory(parquet(tmp_path, pyarrow.table({"turns": lists})))


def test_rows_of_nothing_are_counted_too(tmp_path: Path) -> None:
    import pyarrow

    path = parquet(tmp_path, pyarrow.table({"a": pyarrow.nulls(25_000_000, pyarrow.int8())}))
    assert "take more than" in read_in_bounded_memory(path)


def test_a_parquet_of_questions_reads_whatever_its_columns(tmp_path: Path) -> None:
    import pyarrow

    lists = pyarrow.array([["a", "b"], ["a"], None] * 700)
    structs = pyarrow.array([{"x": "one", "y": [1]}, None, {"x": "two", "y": []}] * 700)
    table = pyarrow.table(
        {"question": ["How?", "Why?", "When?"] * 700, "turns": lists, "more": structs, "n": list(range(2100))}
    )
    rows = read_rows(parquet(tmp_path, table))
    assert [row.value for row in rows] == table.to_pylist()


def test_gzip_of_zeros_or_of_empty_lists(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"[")
        for _ in range(200):
            file.write(b"[]," * 350_000)
        file.write(b"[]]")
    assert path.stat().st_size < 512 * 1024
    assert "unpacked, which is more than" in read_in_bounded_memory(path)


def doubling(leaf: Any, wrap: Any, times: int = 60) -> Any:
    for _ in range(times):
        leaf = wrap(leaf)
    return leaf


def cycle() -> Any:
    found: list[Any] = ["How?"]
    found.append(found)
    return found


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(doubling(["How?"], lambda one: [one, one], 40)),
        pickle.dumps(doubling({"q": "How?"}, lambda one: {"a": one, "b": one}, 40)),
        pickle.dumps(cycle()),
        # a dict whose key is a tuple of tuples ..., each named twice: to hash it takes for ever
        b"\x80\x04}" + b"K\x01\x85\x94" + b"".join(b"h" + bytes([n]) + b"\x86\x94" for n in range(60)) + b"K\x01s.",
        pickle.dumps(doubling(["How?"], lambda one: [one], 300)),
    ],
    ids=["lists", "dicts", "itself", "keys", "deep"],
)
def test_a_pickle_of_references_ends(tmp_path: Path, content: bytes) -> None:
    assert len(content) < 2000
    (tmp_path / "bomb.pkl").write_bytes(content)
    assert "bomb.pkl" in read_in_bounded_memory(tmp_path / "bomb.pkl")


def test_a_pickle_may_name_a_text_twice(tmp_path: Path) -> None:
    texts = ["How do I bake bread?"] * 1000
    rows = [{"question": text, "turns": (text, text), ("a", "b"): None} for text in texts]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(rows))
    assert [row.value for row in read_rows(tmp_path / "a.pkl")] == rows


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "a: &a [*a]",
        "[" * 50_000,
        "[" * 50_000 + "]" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000,
        "1" + ":1" * 300_000,
    ],
    ids=["laughs", "itself", "open", "closed", "mappings", "lists", "number"],
)
def test_yaml_from_outside(tmp_path: Path, text: str) -> None:
    path = tmp_path / "outside.yaml"
    path.write_text(text)
    for read, error in ((read_yaml, ConfigError), (read_sheet, ConfigError), (read_constitution, DataError)):
        with pytest.raises(error, match=r"outside\.yaml"):
            read(path)
    with pytest.raises(ConfigError, match=r"outside\.yaml"):
        policy_principles(path)


def test_json_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "outside.json"
    for text in ("[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000):
        path.write_text(text)
        with pytest.raises(DataError, match="deep"):
            read_constitution(path)


def test_what_is_within_the_bounds_reads_as_ever() -> None:
    deep = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert load_json(json.dumps(deep)) == load_yaml(json.dumps(deep)) == deep
    brackets = {"text": '\\" [[[ {{{ ' * 1000, "more": [["]]]"]]}
    assert load_json(json.dumps(brackets)) == brackets
    assert load_yaml("a: 0x10\nb: 1.5e3\nc: 12:30\nd: '*a'\ne: &a {}") == {
        "a": 16,
        "b": "1.5e3",
        "c": 750,
        "d": "*a",
        "e": {},
    }
    with pytest.raises(BeyondBounds):
        load_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="no file"):
        read_yaml(tmp_path / "pipe.yaml")


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda path: read_template("judge_system", set(), path), ConfigError),
        (lambda path: file_texts(str(path)), DataError),
        (Safeguard, ConfigError),
    ],
    ids=["template", "capability", "policy"],
)
def test_a_text_of_ones_own_is_bounded_and_no_pipe(
    tmp_path: Path, read: Callable[[Path], object], error: type[Exception]
) -> None:
    with (tmp_path / "long.txt").open("wb") as file:
        file.truncate(MAX_TEXT + 1)  # a sparse file: it takes no room on the disk
    with pytest.raises(error, match=r"long\.txt.* more than \d+ MiB"):
        read(tmp_path / "long.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(error, match=r"pipe\.txt.* no file"):
        read(tmp_path / "pipe.txt")
