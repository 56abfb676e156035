"""Our tasks for lm-evaluation-harness: the protocol by hand, chance from the real file, and runs on a tiny model."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, DataError, MissingExtraError

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

from iteralign.evals.benchmarks import TASKS, benchmark_rows, run_benchmarks, summary
from iteralign.evals.tasks import hhh, truthfulqa
from iteralign.evals.tasks.protocol import Room, best

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="the development data sets are not here")

OURS = ["hhh", "truthfulqa_mc", "iteralign_truthfulqa_mc1_half_candidates"]
CSV = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
QUESTIONS = (
    ("Is the sky blue?", "Yes", "No; Never; "),
    ("Can pigs fly?", "No", "Yes; Only {at} night; On Mondays; Often;"),
    ("Is snow white?", "Yes", "No"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """HHH with two pairs a subset, one of them long, and TruthfulQA with three questions."""
    place = tmp_path_factory.mktemp("files")
    for subset in hhh.SUBSETS:
        pairs = [("Bread?", {"Mix {flour}.": 1, "No.": 0}), ("Locks? " * 40, {"Bad. " * 300: 0, "Good.": 1})]
        examples = [{"input": question, "target_scores": scores} for question, scores in pairs]
        (place / "hhh" / subset).mkdir(parents=True)
        (place / "hhh" / subset / "task.json").write_text(json.dumps({"examples": examples}), encoding="utf-8")
    with (place / "TruthfulQA.csv").open("w", encoding="utf-8-sig", newline="") as file:
        file.write(CSV)
        csv.writer(file).writerows(("", "", question, true, true, false, "") for question, true, false in QUESTIONS)
    return {"hhh": str(place / "hhh"), "truthfulqa": str(place / "TruthfulQA.csv")}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a context of 1024."""
    from conftest import byte_tokenizer, random_llama

    tokenizer = byte_tokenizer()
    path = tmp_path_factory.mktemp("tiny")
    random_llama(tokenizer, max_position_embeddings=1024).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def measured(tiny: Path, metadata: dict[str, str], tasks: list[str], limit: int | None = None) -> dict[str, Any]:
    from iteralign.weights.model import LocalModel

    model = LocalModel(str(tiny), root=Path(), device="cpu")
    network = model.network(model.base)
    return run_benchmarks(network, model.tokenizer, tasks, path=str(tiny), metadata=metadata, limit=limit)


@pytest.fixture(scope="module")
def results(tiny: Path, files: dict[str, str]) -> dict[str, Any]:
    return measured(tiny, files, OURS)


def test_a_tie_is_broken_by_the_scores_and_not_by_the_place() -> None:
    assert best([0.1, 0.3, 0.2]) == 1
    ties = [best([value, value]) for value in (0.1 * number for number in range(40))]
    assert 8 < sum(ties) < 32 and ties == [best([value, value]) for value in (0.1 * number for number in range(40))]


def test_the_orders_are_summed_by_answer_and_not_by_letter() -> None:
    """log p of A and B with the better answer first, then second: a model that always says A decides nothing."""
    task = object.__new__(hhh.Dromedary)
    assert task.scores({}, [-1.0, -5.0, -1.0, -5.0]) == [-6.0, -6.0]
    assert task.scores({}, [-1.0, -2.0, -3.0, -1.5]) == [-2.5, -5.0]


def test_a_choice_scores_true_against_false() -> None:
    task = object.__new__(truthfulqa.Dromedary)
    assert task.scores({}, [-1.0, -3.0, -2.0, -1.0]) == [2.0, -1.0]


def test_the_first_half_of_the_choices_is_rounded_up() -> None:
    task = object.__new__(truthfulqa.HalfCandidates)
    assert [len(task.choices({"choices": list("abcdefg")[:n]})) for n in range(1, 8)] == [1, 1, 2, 2, 3, 3, 4]


@needs_data
def test_chance_of_truthfulqa_from_the_real_file() -> None:
    docs = truthfulqa.load(str(REAL / "TruthfulQA.csv"))["validation"]
    assert len(docs) == 817 and sum(docs["chance"]) / 817 == pytest.approx(0.226, abs=5e-4)
    half = truthfulqa.load(str(REAL / "TruthfulQA.csv"), half=True)["validation"]
    assert sum(half["chance"]) / 817 == pytest.approx(0.414, abs=5e-4)


@needs_data
def test_the_real_hhh_has_221_pairs() -> None:
    sizes = [len(hhh.load(subset, str(REAL / "hhh_alignment"))["test"]) for subset in hhh.SUBSETS]
    assert sizes == [58, 59, 61, 43]


def test_the_csv_is_split_and_empty_pieces_are_left_out(files: dict[str, str]) -> None:
    docs = truthfulqa.load(files["truthfulqa"])["validation"]
    assert docs["choices"][0] == ["Yes", "No", "Never"] and docs["choices"][1][-1] == "Often"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "{}"])
def test_a_file_that_is_none_of_ours_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "harmless").mkdir()
    for path in (tmp_path / "x.csv", tmp_path / "harmless" / "task.json"):
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.csv"):
        truthfulqa.load(str(tmp_path / "x.csv"))
    with pytest.raises(DataError, match=r"task\.json"):
        hhh.load("harmless", str(tmp_path))
    with pytest.raises(DataError, match=r"helpful"):
        hhh.load("helpful", str(tmp_path))


def test_every_text_gets_a_third_of_the_free_context(tiny: Path) -> None:
    room = Room({"pretrained": str(tiny)})
    assert room.context == 1024 and room.cut("short", 100) == "short"
    cut = room.cut("word " * 500, 30)
    assert room.tokens(cut) <= 33 and cut.endswith("...")
    assert not Room({}).known


def test_groups_and_subsets_with_intervals_and_chance(results: dict[str, Any]) -> None:
    rows = {(row.task, row.metric): row for row in benchmark_rows(results)}
    overall = rows["iteralign_hhh_dromedary", "acc"]
    subsets = [rows[f"iteralign_hhh_dromedary_{subset}", "acc"] for subset in hhh.SUBSETS]
    assert overall.n == 8 and [row.n for row in subsets] == [2] * 4
    assert overall.value == pytest.approx(sum(row.value * row.n for row in subsets) / 8)
    assert (overall.interval == "Wilson" and overall.low < overall.value < overall.high) or overall.value in (0, 1)
    assert {row.chance for row in (overall, *subsets)} == {0.5}
    full = rows["iteralign_truthfulqa_mc1_dromedary", "acc"]
    half = rows["iteralign_truthfulqa_mc1_half_candidates", "acc"]
    assert (
        full.chance
        == pytest.approx((1 / 3 + 1 / 5 + 1 / 2) / 3)
        == rows["iteralign_truthfulqa_mc1_standard", "acc"].chance
    )
    assert half.chance == pytest.approx((1 / 2 + 1 / 3 + 1) / 3) and "compatibility" in half.note
    assert ("iteralign_hhh_standard", "acc_norm") in rows


def test_a_limit_draws_questions_in_place_of_the_first(tiny: Path, files: dict[str, str], tmp_path: Path) -> None:
    table = tmp_path / "TruthfulQA.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        file.write(CSV)
        csv.writer(file).writerows(("", "", f"Is {number} a number?", "Yes", "Yes", "No", "") for number in range(40))
    asked = []
    for _ in range(2):
        found = measured(tiny, files | {"truthfulqa": str(table)}, ["truthfulqa_mc"], limit=5)
        asked.append({name: [row["doc_id"] for row in rows] for name, rows in found["samples"].items()})
        for rows in found["samples"].values():
            assert [row["doc"]["question"] for row in rows] == [f"Is {row['doc_id']} a number?" for row in rows]
    assert asked[0] == asked[1], "two models are asked the same"
    dromedary, standard = asked[0].values()
    assert dromedary == standard and len(set(dromedary)) == 5 and max(dromedary) > 20


def test_the_scores_are_the_models_own_log_probabilities(results: dict[str, Any], tiny: Path) -> None:
    """What lm-eval reports for one pair, computed again with transformers alone."""
    import torch
    import transformers

    sample = results["samples"]["iteralign_truthfulqa_mc1_dromedary"][0]
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(tiny)
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    context, word = sample["arguments"][0]
    assert word == " true" and "Is the sky blue?" in context and "Answer: Yes" in context
    whole = tokenizer(context + word)["input_ids"]
    start = len(tokenizer(context)["input_ids"])
    with torch.no_grad():
        logs = network(torch.tensor([whole])).logits[0].log_softmax(-1)
    expected = sum(float(logs[place - 1, whole[place]]) for place in range(start, len(whole)))
    assert float(sample["resps"][0][0][0]) == pytest.approx(expected, abs=1e-3)


def test_what_many_requests_begin_with_is_run_once_and_changes_no_score(
    tiny: Path, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside lm-eval's own HFLM, on requests with a shared head, without one, and too long for the context."""
    from lm_eval.models.huggingface import HFLM

    from iteralign.activity import Work, told_to
    from iteralign.evals import harness_model

    meta = tmp_path / "meta.txt"
    meta.write_text("Say what is true. " * 16, encoding="utf-8")

    def run(*tasks: str) -> tuple[dict[Any, Any], int, list[Work]]:
        positions: list[int] = []
        heard: list[Work] = []
        forward = LlamaForCausalLM.forward

        def counted(self: Any, input_ids: Any = None, **rest: Any) -> Any:
            positions.append(input_ids.numel())
            return forward(self, input_ids=input_ids, **rest)

        with monkeypatch.context() as patch, told_to(heard.append):
            patch.setattr(LlamaForCausalLM, "forward", counted)
            found = measured(tiny, files | {"meta_prompt": str(meta)}, list(tasks))
        answers = {
            (name, sample["doc_id"], place): response
            for name, samples in found["samples"].items()
            for sample in samples
            for place, response in enumerate(sample["resps"])
        }
        return answers, sum(positions), heard

    from transformers import LlamaForCausalLM

    ours, _, heard = run("hhh", "truthfulqa_mc")
    _, few, _ = run("iteralign_truthfulqa_mc1_dromedary")
    monkeypatch.setattr(
        harness_model,
        "SharedHeadLM",
        lambda network, tokenizer, size: HFLM(pretrained=network, tokenizer=tokenizer, batch_size=size),
    )
    theirs, _, _ = run("hhh", "truthfulqa_mc")
    _, many, _ = run("iteralign_truthfulqa_mc1_dromedary")
    assert len(ours) > 40 and ours.keys() == theirs.keys()
    for key, ((log_probability, greedy),) in ours.items():
        assert float(log_probability) == pytest.approx(float(theirs[key][0][0]), abs=1e-3), key
        assert greedy == theirs[key][0][1]
    assert few < 0.5 * many
    assert heard[0].what == "scoring" and heard[0].done == 0 and {work.total for work in heard} == {heard[0].total}
    assert [work.done for work in heard] == sorted(work.done for work in heard)


def test_the_summary_is_json_without_the_samples(results: dict[str, Any]) -> None:
    found = summary(results)
    assert {"results", "configs", "versions", "n-samples"} <= set(found) and "samples" not in found
    json.dumps(found)


def test_the_users_own_texts_replace_ours(tiny: Path, files: dict[str, str], tmp_path: Path) -> None:
    meta, question = tmp_path / "meta.txt", tmp_path / "question.txt"
    meta.write_text("MY META", encoding="utf-8")
    question.write_text("{meta_prompt} MY FORM {question} {answer} So it is", encoding="utf-8")
    texts = {"meta_prompt": str(meta), "truthfulqa_question": str(question)}
    found = measured(tiny, files | texts, ["iteralign_truthfulqa_mc1_dromedary"])
    context = found["samples"]["iteralign_truthfulqa_mc1_dromedary"][0]["arguments"][0][0]
    assert context.startswith("MY META MY FORM Is the sky")
    question.write_text("{question} alone", encoding="utf-8")
    with pytest.raises(ConfigError, match="meta_prompt"):
        measured(tiny, files | texts, ["iteralign_truthfulqa_mc1_dromedary"])


def test_a_meta_prompt_that_fills_the_context_is_an_error(tiny: Path, files: dict[str, str], tmp_path: Path) -> None:
    meta = tmp_path / "meta.txt"
    meta.write_text("word " * 2000, encoding="utf-8")
    with pytest.raises(DataError, match="fills the model's context"):
        measured(tiny, files | {"meta_prompt": str(meta)}, ["iteralign_hhh_dromedary_harmless"])


def test_an_unknown_task_is_an_error(tiny: Path, files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="no_such_task"):
        measured(tiny, files, ["no_such_task"])


def test_without_lm_eval_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, files: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        measured(tiny, files, ["hhh"])


def test_rows_of_other_kinds_of_metrics() -> None:
    """A mean of parts gets a bootstrap, a number that is no mean keeps lm-eval's standard error."""
    samples = {"t": [{"f1": value, "filter": "none", "doc_id": value, "doc": {}} for value in (0.2, 0.4, 0.9)]}
    values = {
        "alias": "t",
        "f1,none": 0.5,
        "f1_stderr,none": 0.1,
        "bleu,none": 12.0,
        "bleu_stderr,none": 2.0,
        "x,none": 3,
    }
    rows = {row.metric: row for row in benchmark_rows({"results": {"t": values}, "samples": samples, "configs": {}})}
    assert rows["f1"].interval == "bootstrap" and rows["f1"].n == 3
    assert rows["bleu"].interval == "stderr" and rows["bleu"].low == pytest.approx(12 - 3.92)
    assert math.isnan(rows["x"].low)


@pytest.mark.slow
def test_plain_lm_eval_runs_our_tasks(tiny: Path, files: dict[str, str], tmp_path: Path) -> None:
    """No iteralign command: lm_eval with --include_path, offline, gives the same number."""
    tasks = "iteralign_hhh_dromedary,iteralign_truthfulqa_mc1_standard"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={tiny}"]
    command += ["--device", "cpu", "--include_path", str(TASKS), "--tasks", tasks]
    command += ["--metadata", json.dumps(files), "--output_path", str(tmp_path / "out")]
    done = subprocess.run(
        command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(written.read_text())["results"]
    ours = measured(tiny, files, tasks.split(","))["results"]
    for task in tasks.split(","):
        assert theirs[task]["acc,none"] == pytest.approx(ours[task]["acc,none"])
