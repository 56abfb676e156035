"""Loading prompt sets: made-up files of every format, and the real sets where they are present."""

import csv
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from iteralign.data import load_prompts, prepare, read_prompts, same_question_key, split_held_out, write_prompts
from iteralign.data.written import new_questions
from iteralign.errors import DataError
from iteralign.prompts.forms import prompt_form
from iteralign.records import RedTeamPrompt, Turn
from iteralign.text.similarity import by_words

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
QUESTIONS = ["How do kites fly?", "Why is the sea salty", "Who made paper"]
CHAT = "\n\nHuman: first?\n\nAssistant: one\n\nHuman: second?\n\nAssistant: two"


def _texts(path: Path, **options: Any) -> list[str]:
    return [prompt.question for prompt in load_prompts(str(path), **options)]


def _real(name: str) -> Path:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"the real data set {path} is not here")
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "txt", "parquet", "pkl"])
def test_every_format(tmp_path: Path, ending: str, packed: bool) -> None:
    plain = tmp_path / f"set.{ending}"
    rows = [{"n": number, "Question": text} for number, text in enumerate(QUESTIONS)]
    match ending:
        case "jsonl":
            plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case "json":
            plain.write_text(json.dumps(rows))
        case "csv" | "tsv":
            with plain.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.DictWriter(file, ["n", "Question"], delimiter="," if ending == "csv" else "\t")
                writer.writeheader()
                writer.writerows(rows)
        case "txt":
            plain.write_text("\r\n\r\n".join(QUESTIONS))
        case "parquet":
            pa = pytest.importorskip("pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(pa.Table.from_pylist(rows), plain)
        case "pkl":
            plain.write_bytes(pickle.dumps([f"\n\nHuman: {text}\n\nAssistant:" for text in QUESTIONS]))
    if packed:
        path = tmp_path / f"set.{ending}.gz"
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        path = plain
    assert _texts(path) == QUESTIONS


def test_nested_json_gives_categories(tmp_path: Path) -> None:
    path = tmp_path / "nested.json"
    path.write_text(json.dumps({"Physics": {"Air": ["a?", "b?"]}, "Law": {"Tax": ["c?"]}}))
    assert [prompt.category for prompt in load_prompts("harmfulqa", path)] == ["Physics / Air"] * 2 + ["Law / Tax"]


def test_red_team_attempts_are_one_array_despite_the_name(tmp_path: Path) -> None:
    path = tmp_path / "red_team_attempts.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps([{"transcript": CHAT, "rating": 1}, {"transcript": ""}]).encode()))
    result = prepare("hh-rlhf", path)
    assert [prompt.question for prompt in result.prompts] == ["first?"]
    assert result.skipped == 1
    (last,) = load_prompts("hh-rlhf", path, turns="last")
    assert last.question == "second?"
    assert last.history == (Turn(role="human", text="first?"), Turn(role="assistant", text="one"))


def test_released_pickles(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    cou = prompt_form("cou").render(RedTeamPrompt(id="x", question=QUESTIONS[1]))
    path.write_bytes(pickle.dumps([(f"\n\nHuman: {QUESTIONS[0]}\n\nAssistant:", 0.5), cou]))
    assert _texts(path) == QUESTIONS[:2]


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(["q?", Hostile()], protocol=protocol))
    with pytest.raises(DataError, match="Nothing was run"):
        load_prompts(str(path))
    assert not marker.exists()


def test_memory_bomb_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    with pytest.raises(DataError, match="memory"):
        load_prompts(str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b" \n\n", "nothing in this file"),
        ("a.txt", b"fine\nbad \xff", r"a.txt:2: byte 9 "),
        ("a.txt", b"a\0b", "byte 1 of the file is NUL"),
        ("a.jsonl", b'{"question": "a\\u0000b"}\n', "NUL"),
        ("a.jsonl", b'{"question": "\\ud800"}\n', "surrogate"),
        ("a.jsonl", b'{"foo": "q", "bar": 1}\n', "foo, bar.*question_field"),
        ("a.jsonl", b'{"question": 3}\n', "int, not a string"),
        ("a.jsonl", b'{"question": "a?"}\n{"question": null}\n', r"a.jsonl:2.*empty \(null\)"),
        ("a.jsonl", b'{"question": "  "}\n', "blank"),
        ("a.jsonl", b'{"question": "a?"}\n{"quest', r"a.jsonl:2: the last line is not whole"),
        ("a.jsonl", b'{"question": "a?"}\nnope\n{"question": "b?"}\n', r"a.jsonl:2: this line is not JSON"),
        ("a.jsonl", b'{"id": 1, "question": "a?"}\n{"id": 1, "question": "b?"}\n', r"jsonl:2: the id '1' .*jsonl:1"),
        ("a.json", b'["a?",', "not JSON at column"),
        ("a.json", b"3", "expected a list"),
        ("a.csv", b"question,b\nx,1,2\n", r"a.csv:2: malformed CSV: 3 cells"),
        ("a.csv", b'question,b\n"x,1\n', "malformed CSV"),
        ("a.csv", b"question,question\nx,1\n", "twice"),
        ("a.parquet", b"PAR1 no", "Parquet"),
        ("a.pkl", b"no pickle", "pickle"),
        ("a.txt.gz", b"no gzip", "gzip"),
        ("a.docx", b"x", "unknown kind"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_prompts(str(path))


def test_missing_file_directory_and_unknown_source(tmp_path: Path) -> None:
    for source, message in ((tmp_path / "no.txt", "no such file"), (tmp_path, "directory"), ("nosuch", "known source")):
        with pytest.raises(DataError, match=message):
            load_prompts(str(source))
    with pytest.raises(DataError, match="not on the hub"):
        load_prompts("dangerousqa")


def test_the_harmless_questions_that_ship() -> None:
    prompts = load_prompts("everyday", benign=True)
    assert len(prompts) == len({same_question_key(prompt.question) for prompt in prompts}) == 301
    assert all(prompt.benign and prompt.source == "everyday" for prompt in prompts)


@pytest.mark.parametrize(
    "measured", ["xstest_prompts.csv", "vicuna_bench_question.jsonl", "do_not_answer.json", "harmbench_behaviors.csv"]
)
def test_none_of_them_is_near_a_question_that_measures(measured: str) -> None:
    """By the same measure as what a run's oracle writes."""
    ours, theirs = _texts(Path("everyday")), _texts(_real(measured))
    assert new_questions(ours, theirs, by_words) == ours


def test_unusual_text_is_kept(tmp_path: Path) -> None:
    for text in ("x" * 1_000_000, "كيف \u202eحال\u202c?", "a\x07b\x1bc\u2028d"):
        path = tmp_path / "one.jsonl"
        path.write_text(json.dumps({"question": text}) + "\n")
        assert _texts(path) == [text]
    path = tmp_path / "long.csv"
    path.write_text(f"question\n{'y' * 1_000_000}\n")
    assert len(_texts(path)[0]) == 1_000_000


def test_doubles_filter_limit_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question,label\nOne?,safe\n ONE ,safe\nTwo?,unsafe\nThree?,safe\n")
    result = prepare(str(path), where="label=safe", benign=True)
    assert ([p.question for p in result.prompts], result.duplicates, result.filtered) == (["One?", "Three?"], 1, 1)
    assert all(prompt.benign for prompt in result.prompts)
    assert _texts(path, limit=1) == ["One?"]
    assert _texts(path, shuffle=True, seed=3) == _texts(path, shuffle=True, seed=3)
    with pytest.raises(DataError, match="'safe', 'unsafe'"):
        load_prompts(str(path), where="label=x")
    with pytest.raises(DataError, match="limit"):
        load_prompts(str(path), limit=0)


def test_ids_follow_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "set.txt", tmp_path / "sub" / "set.txt"
    second.parent.mkdir()
    first.write_text("a?\nb?\n")
    second.write_text("b?\nc?\na?\n")
    ids = [{p.question: p.id for p in load_prompts(str(path))} for path in (first, second)]
    assert ids[0].items() <= ids[1].items()


@pytest.mark.parametrize("form", ["plain", "cot", "cou"])
def test_the_same_question_in_every_form(form: str) -> None:
    text = prompt_form(form).render(RedTeamPrompt(id="x", question="How do  I pick a Lock?"))
    assert same_question_key(text) == same_question_key("how do i pick a lock")


def test_split_is_the_same_in_every_form() -> None:
    plain = [RedTeamPrompt(id=f"a{n}", question=f"Question {n}?") for n in range(200)]
    other = [RedTeamPrompt(id=f"b{n}", question=f"QUESTION {n} Let's think step by step.") for n in range(200)]
    train, held = split_held_out(plain, share=0.3, seed=1)
    train_b, held_b = split_held_out([*other, *plain[:50]], share=0.3, seed=1)
    sides = [{same_question_key(p.question) for p in side} for side in ([*train, *train_b], [*held, *held_b])]
    assert sides[0].isdisjoint(sides[1])
    assert len(held) == 60
    assert len(split_held_out(plain, count=7)[1]) == 7
    for wrong in ({"share": 1.0}, {"count": 200}, {}, {"share": 0.1, "count": 1}):
        with pytest.raises(DataError):
            split_held_out(plain, **wrong)


def test_prompt_file_round_trip_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "out" / "prompts.jsonl"
    prompts = [RedTeamPrompt(id="a", question="q\u2028\n?", history=(Turn(role="human", text="h"),), category="c")]
    write_prompts(path, prompts)
    assert read_prompts(path) == prompts
    assert load_prompts(str(path))[0].history == prompts[0].history
    assert [entry.name for entry in path.parent.iterdir()] == ["prompts.jsonl"]
    for content, message in (
        ('{"id": "a", "question": 1}\n', ":1: question"),
        ('{"id": "a", "question": "q", "x": 1}\n', ":1: x"),
        ('{"id": "a", "question": "q"}\n' * 2, ":2: the id"),
        ('{"id": "a", "question": "q"}\n{"i', ":2: the last line"),
        ("\n", "nothing"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_prompts(path)


def test_hub_sources_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    calls = []

    def fake(**wanted: str) -> list[dict[str, str]]:
        calls.append(wanted)
        return [{"topic": "T", "subtopic": "S", "question": "q?"}]

    monkeypatch.setattr(datasets, "load_dataset", fake)
    assert load_prompts("harmfulqa")[0].category == "T / S"
    load_prompts("hh-rlhf", question_field="question")
    load_prompts("hub:me/set:conf@test")
    assert calls == [
        {"path": "declare-lab/HarmfulQA", "split": "train"},
        {"path": "Anthropic/hh-rlhf", "data_dir": "red-team-attempts", "split": "train"},
        {"path": "me/set", "name": "conf", "split": "test"},
    ]

    def broken(**wanted: str) -> None:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", broken)
    with pytest.raises(DataError, match="offline"):
        load_prompts("harmfulqa")


@pytest.mark.parametrize(
    ("source", "name", "read", "prompts"),
    [
        ("dangerousqa", "dangerousqa.json", 200, 200),
        ("harmfulqa", "harmfulqa.json", 1960, 1938),
        ("hh-rlhf", "hh_rlhf_harmless_base_test.jsonl.gz", 2312, 2175),
        ("", "xstest_prompts.csv", 450, 450),
        ("", "TruthfulQA.csv", 817, 817),
        ("", "vicuna_bench_question.jsonl", 80, 80),
    ],
)
def test_real_sets(source: str, name: str, read: int, prompts: int) -> None:
    path = _real(name)
    result = prepare(source, path) if source else prepare(str(path))
    assert (result.read, len(result.prompts)) == (read, prompts)
    assert result.counts()["doubles removed"] == read - prompts


def test_real_xstest_safe_half_is_benign() -> None:
    assert len(load_prompts(str(_real("xstest_prompts.csv")), where="label=safe", benign=True)) == 250
