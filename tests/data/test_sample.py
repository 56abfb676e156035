"""What is held out and what a limit takes: as many as were asked for, and every kind with its share."""

from collections import Counter
from pathlib import Path

import pytest
import typer

from iteralign.cli.app import app
from iteralign.data import split_held_out
from iteralign.data.sample import apportioned, stratified
from iteralign.evals.evaluate import Sets
from iteralign.evals.human_labels import read_human_labels
from iteralign.evals.judge_check import judge_check
from iteralign.fakes import FakeOracle
from iteralign.records import RedTeamPrompt
from iteralign.runs.prompt_sets import build_prompts
from iteralign.settings.settings import load_settings


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("share", "count"), [(0.2, 8), (0.5, 20), (0.01, 0), (0.99, 40)])
def test_a_share_is_met(share: float, count: int, seed: int) -> None:
    prompts = [RedTeamPrompt(id=str(n), question=f"Question {n}?") for n in range(40)]
    if count == 40:
        with pytest.raises(ValueError, match="All 40"):
            split_held_out(prompts, share=share, seed=seed)
    else:
        assert len(split_held_out(prompts, share=share, seed=seed)[1]) == count


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_data_prepare_holds_out_the_share(seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.txt").write_text("".join(f"How do I do thing number {n}?\n" for n in range(40)))
    arguments = ["data", "prepare", "q.txt", "--held-out", "0.2", "--seed", seed]
    assert not typer.main.get_command(app).main(arguments, standalone_mode=False)
    lines = [Path(name).read_text().splitlines() for name in ("prompts.jsonl", "prompts-held-out.jsonl")]
    assert [len(one) for one in lines] == [32, 8]


def test_seats_go_by_size_and_to_everybody_first() -> None:
    assert apportioned({"a": 80, "b": 19, "c": 1}, 20) == {"a": 15, "b": 4, "c": 1}
    assert apportioned({"a": 50, "b": 50}, 20) == {"a": 10, "b": 10}
    assert apportioned({"a": 5, "b": 3, "c": 1}, 2) == {"a": 1, "b": 1, "c": 0}
    assert apportioned({"a": 2, "b": 1}, 9) == {"a": 2, "b": 1}
    assert apportioned({str(n): 1 for n in range(10)} | {"big": 10}, 19)["big"] == 9


def test_a_sample_keeps_the_order_and_follows_the_seed() -> None:
    items = list(range(100))
    samples = [stratified(items, 10, lambda item: item < 90, seed) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] == sorted(samples[0]) != samples[2]
    assert sum(item >= 90 for item in samples[0]) == 1
    assert stratified(items, None, bool) == stratified(items, 100, bool) == items


def test_judge_check_asks_about_every_kind(tmp_path: Path) -> None:
    rows = [
        ("safe", "contrast" not in kind, kind, label) for kind in ("homonyms",) for label in "123" for _ in range(20)
    ]
    rows += [("unsafe", False, "contrast_homonyms", label) for label in "123" for _ in range(20)]
    lines = [f"Question {n} {row[0]}?,Answer {n}.,{row[2]},{row[3]}_label" for n, row in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join(["prompt,completion,type,final_label", *lines]) + "\n")
    oracle = FakeOracle()
    report = judge_check(oracle, [tmp_path / "labels.csv"], judge="fake", limit=20)
    assert report.groups["all"].total == 20
    assert report.groups["safe prompts"].total == report.groups["unsafe prompts"].total == 10
    labels = {one.response.prompt.id: one.label for one in read_human_labels(tmp_path / "labels.csv")[0]}
    assert set(Counter(labels[response.prompt.id] for (asked,) in [oracle.judged] for response in asked)) == {
        "acceptable",
        "unacceptable",
    }


def _by_category(count: int) -> str:
    rows = (f'{{"question": "Question {n} of {count}?", "category": "{"abcd"[n * 4 // count]}"}}' for n in range(count))
    return "\n".join(rows) + "\n"


def test_evaluate_takes_every_category() -> None:
    prompts = [RedTeamPrompt(id=str(n), question=f"{n}?", category="abcd"[n // 10]) for n in range(40)]
    limited = Sets(harmful={"x": prompts}).limited(8)
    assert Counter(prompt.category for prompt in limited.harmful["x"]) == dict.fromkeys("abcd", 2)


def test_a_run_measures_on_every_category(tmp_path: Path) -> None:
    (tmp_path / "red.jsonl").write_text(_by_category(200))
    data = {"prompts": str(tmp_path / "red.jsonl"), "held_out": 0.5, "held_out_limit": 16, "benign": None}
    sets = build_prompts(load_settings({"model": {"path": "demo"}, "data": data, "oracle": {"kind": "rules"}}))
    counts = Counter(prompt.category for prompt in sets.held_out)
    assert sum(counts.values()) == 16 and set(counts) == set("abcd")
