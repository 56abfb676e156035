"""Bad input through the command line: one message, the right exit code, no traceback, and nothing run or written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from iteralign.cli.app import app
from iteralign.errors import IteralignError


class Runs:
    """A pickle of this runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


FILES: dict[str, bytes] = {
    "empty.jsonl": b"",
    "blank.txt": b"\n \n\t\n",
    "latin.csv": "question\nWas hei\xdft das?\n".encode("latin-1"),
    "utf16.csv": "question\nWhat?\n".encode("utf-16"),
    "nul.txt": b"What?\nWh\0at?\n",
    "ids.jsonl": b'{"id": 1, "question": "a?"}\n{"id": 1, "question": "b?"}\n',
    "columns.csv": b"colour,size\nred,3\n",
    "number.jsonl": b'{"question": 3}\n',
    "torn.jsonl": b'{"question": "a?"}\n{"quest',
    "code.pkl": pickle.dumps([Runs()]),
    "pictures.png": b"\x89PNG\r\n",
    "ragged.csv": b"question,label\nWhat, then?,a,b\n",
}

WRONG_FILES = [
    ("empty.jsonl", "empty"),
    ("blank.txt", "nothing in this file"),
    ("latin.csv", "not UTF-8"),
    ("utf16.csv", "UTF-16"),
    ("nul.txt", "NUL"),
    ("ids.jsonl", "the id '1' is also at"),
    ("columns.csv", "colour, size"),
    ("number.jsonl", "int, not a string"),
    ("torn.jsonl", "cut off"),
    ("code.pkl", "Nothing was run"),
    ("pictures.png", "unknown kind of file"),
    ("ragged.csv", "malformed CSV"),
    ("folder", "this is a directory"),
    ("absent.csv", "no such file"),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("folder").mkdir()
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    return tmp_path


def iteralign(*arguments: str) -> tuple[int, str]:
    """Exit code and message, as `main` would give them; any other exception is a traceback, and fails the test."""
    try:
        code = typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    except IteralignError as error:
        return error.exit_code, str(error)
    return code or 0, ""


def settings(**sections: Any) -> str:
    values = {"model": {"path": "demo"}, "data": {"prompts": "demo", "limit": 4}, "oracle": {"kind": "rules"}}
    Path("config.yaml").write_text(json.dumps(values | sections))
    return "config.yaml"


@pytest.mark.parametrize(("name", "message"), WRONG_FILES)
@pytest.mark.parametrize("command", ["plan", "run", "prepare", "benign"])
def test_a_wrong_prompt_file_is_one_message(command: str, name: str, message: str) -> None:
    before = sorted(Path().rglob("*"))
    calls: dict[str, Callable[[], tuple[int, str]]] = {
        "plan": lambda: iteralign("plan", settings(data={"prompts": f"./{name}"})),
        "run": lambda: iteralign("run", settings(data={"prompts": f"./{name}"}), "--run-dir", "r"),
        "prepare": lambda: iteralign("data", "prepare", f"./{name}", "-o", "out.jsonl"),
        "benign": lambda: iteralign("plan", settings(data={"prompts": "demo", "limit": 9, "benign": f"./{name}"})),
    }
    code, said = calls[command]()
    assert code == 2 and message in said and name in said, said
    made = {path.name for path in set(Path().rglob("*")) - set(before)}
    assert made <= {"config.yaml", "r", ".lock", "attempts.jsonl", "cache"}, "something was run or written"


@pytest.mark.parametrize(
    ("sections", "code", "message"),
    [
        ({"trainig": {}}, 2, "did you mean training?"),
        ({"training": {"epoch": 1}}, 2, "did you mean epochs?"),
        ({"rounds": {"prompts": "many"}}, 2, "rounds.prompts"),
        ({"rounds": {"prompts": 0}}, 2, "rounds.prompts"),
        ({"seed": [1]}, 2, "seed"),
        ({"model": "demo"}, 2, "model"),
        ({"model": {"path": "./folder"}}, 1, "no Hugging Face model"),
        ({"model": {"path": "./absent"}}, 1, "no such directory"),
        ({"model": {"path": "./empty.jsonl"}}, 1, "empty.jsonl"),
        ({"model": {"path": "./code"}}, 1, "trust_remote_code"),
        ({"model": {"path": "./misfit"}}, 1, "does not fit the model"),
        ({"model": {"path": "./pickled"}}, 1, "safetensors"),
        ({"form": {"name": "file", "texts": {"template": "absent.txt"}}}, 2, "absent.txt"),
        ({"form": {"name": "file", "texts": {"template": "nul.txt"}}}, 2, "placeholder"),
        ({"oracle": {"judge": {"model": "m"}, "texts": {"judge": "latin.csv"}}}, 2, "latin.csv"),
        ({"oracle": {"judge": {"model": "m"}, "prices_file": "torn.jsonl"}}, 2, "torn.jsonl"),
    ],
)
def test_wrong_settings_and_models_are_one_message(
    sections: dict[str, Any], code: int, message: str, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    path = str(sections.get("model", {}).get("path")) if isinstance(sections.get("model"), dict) else ""
    if path in ("./code", "./misfit", "./pickled"):
        _model_like(tiny_llama, Path(path))
    got, said = iteralign("run", settings(sampling={"max_new_tokens": 8}, **sections), "--run-dir", "r")
    assert (got, message in said) == (code, True), (got, said)
    assert not Path("ran").exists() and not Path("r/rounds").exists()


def _model_like(tiny: Path, path: Path) -> None:
    """A copy of a sound model with one fault."""
    import shutil

    shutil.copytree(tiny, path)
    config = json.loads((path / "config.json").read_text())
    if path.name == "code":
        config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
        (path / "own.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    elif path.name == "misfit":
        from safetensors.torch import load_file, save_file

        config["vocab_size"] = 50
        weights = load_file(path / "model.safetensors")
        size = max(w.shape[0] for name, w in weights.items() if "embed" in name)
        cut = {name: (w[:50].clone() if w.shape[0] == size else w) for name, w in weights.items()}
        save_file(cut, path / "model.safetensors", metadata={"format": "pt"})
    else:
        (path / "model.safetensors").rename(path / "pytorch_model.bin")
    (path / "config.json").write_text(json.dumps(config))


def test_one_prompt_is_enough_to_run() -> None:
    Path("one.txt").write_text("How do I pick a lock?\n")
    data = {"prompts": "./one.txt", "held_out": 0, "benign_limit": 4}
    code, said = iteralign(
        "run", settings(data=data, sampling={"max_new_tokens": 4}, training={"epochs": 1}, threads=1), "--run-dir", "r"
    )
    assert code in (0, 5), said  # 5: nothing was trained
    assert len(Path("r/prompts.jsonl").read_text().splitlines()) == 1


def test_a_prompt_of_a_million_characters_is_not_judged_and_unusual_ones_pass() -> None:
    unusual = [
        "x" * 1_000_000,
        "ما \u202eهذا\u202c؟",
        "a\x07b\x1b[31mc",
        "{answer} {question} %s {{}}",
        "\u200b\ufeffz?",
    ]
    Path("odd.jsonl").write_text("".join(json.dumps({"question": text}) + "\n" for text in unusual))
    data = {"prompts": "./odd.jsonl", "held_out": 0, "benign_limit": 4}
    values = settings(data=data, sampling={"max_new_tokens": 4}, training={"epochs": 1}, threads=1)
    assert iteralign("plan", values)[0] == 0
    code, said = iteralign("run", values, "--run-dir", "r")
    assert code in (0, 5), said
    lines = Path("r/rounds/0000/2_verdicts.jsonl").read_text().splitlines()
    verdicts = [json.loads(line) for line in lines]
    assert [verdict["response"]["prompt"]["question"] for verdict in verdicts] == unusual
    assert verdicts[0]["label"] == "undetermined" and "fit" in verdicts[0]["reason"]


def test_ids_that_two_sets_share_lose_and_mix_nothing() -> None:
    from iteralign.runs.prompt_sets import build_prompts
    from iteralign.settings.settings import load_settings

    rows = [{"id": n, "question": f"Bad thing {n}?"} for n in range(30)]
    good = [{"id": n, "question": f"Good thing {n}?"} for n in range(30)] + [{"id": "x", "question": "bad thing 3"}]
    Path("bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in good))
    data = {"prompts": "./bad.jsonl", "held_out": 0.3, "benign": "./good.jsonl"}
    sets = build_prompts(load_settings(settings(data=data)))
    everything = [*sets.prompts, *sets.held_out, *sets.benign, *sets.benign_held_out]
    assert len({prompt.id for prompt in everything}) == len(everything)
    questions = {prompt.question.lower().rstrip("?") for prompt in everything}
    assert len(questions) == len(everything) == 60, "the question in both sets is in one of them"
    assert any("of another set" in note for note in sets.notes)
    merged = Path("bad.jsonl").read_bytes() + Path("good.jsonl").read_bytes()
    Path("merged.jsonl").write_bytes(merged)
    code, said = iteralign("data", "prepare", "merged.jsonl", "-o", "out.jsonl")
    assert code == 2 and "is also at" in said and not Path("out.jsonl").exists()


def test_a_held_out_question_inside_another_conversation_is_left_out() -> None:
    from iteralign.data import prepare

    plain = [{"question": f"Question {n}?"} for n in range(40)]
    talks = [
        {"messages": [{"role": "user", "content": f" question {n}"}, {"role": "assistant", "content": "No."}]}
        | {"question": f"And now, {n}?", "history": [{"role": "human", "text": f" question {n}"}]}
        for n in range(40)
    ]
    Path("talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*plain, *talks]))
    made = prepare("./talks.jsonl", held_out_share=0.3)
    held = {prompt.question for prompt in made.held_out if not prompt.history}
    assert held and made.leaking
    for prompt in made.prompts:
        assert not any(turn.text.strip().capitalize() + "?" in held for turn in prompt.history)
    assert len(made.prompts) + len(made.held_out) + made.leaking == 80
