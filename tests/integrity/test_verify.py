"""Nothing that was changed after it was written goes unseen: by `verify`, by `resume`, by what a file says of another."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cli.test_init import iteralign
from report.conftest import ScoringTarget, fake_parts, learns, small

from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.fakes import FakeTarget
from iteralign.files import read_log
from iteralign.integrity.verify import verify_run
from iteralign.records import Checkpoint
from iteralign.rundir.manifest import Manifest
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.settings import load_settings

from .corruption import SETTINGS, Interrupts, campaign, finished_run, interrupted_run


@pytest.mark.slow
@pytest.mark.parametrize("made", [finished_run, interrupted_run])
def test_every_change_is_noticed(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    report = campaign(made(tmp_path / "run"), 24, seed=1)
    assert report.made.total() == 24 and len(report.made) == 8
    assert report.unnoticed == []


class Unteachable(ScoringTarget):
    """Fails in every round, so that every round trains."""

    def __init__(self) -> None:
        FakeTarget.__init__(self, lambda text, checkpoint: learns(text, Checkpoint(kind="base", path="base")))


def fakes(directory: Path) -> Parts:
    return replace(fake_parts(directory), target=Unteachable())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "run"
    start_run(load_settings(small(path.parent)), path, parts=fakes(path))
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_command_names_each_problem_and_says_from_where_to_go_on(run: Path) -> None:
    assert iteralign("verify", str(run)).exit_code == 0
    change(run / "rounds" / "0001" / "2_verdicts.jsonl", '"reason":""', '"reason":"!"')
    done = iteralign("verify", str(run), "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and len(found["problems"]) == 1
    assert found["problems"][0].startswith("rounds/0001/2_verdicts.jsonl was changed after it was written")
    assert "delete rounds/0001/2_verdicts.jsonl, what follows it in rounds/0001/" in found["remedy"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rounds/0001/2_verdicts.jsonl", '"reason":""', '"reason":"!"'),
        ("rounds/0000/adapter/fake.json", "base", "face"),
        ("prompts.jsonl", "number", "Number"),
        ("environment.json", '"seed": 0', '"seed": 1'),
        ("constitution.md", "Do not", "Do now"),
        ("manifest.jsonl", '"complete": false', '"complete": true'),
    ],
)
def test_resume_refuses_what_was_changed(run: Path, name: str, old: str, new: str) -> None:
    change(run / name, old, new)
    with (
        pytest.raises(CorruptFileError, match=name) if name != "prompts.jsonl" else pytest.raises(Exception, match=name)
    ):
        resume_run(run, parts=fakes(run))


def test_adapters_of_two_rounds_swapped_are_refused(run: Path) -> None:
    places = [run / "rounds" / number / "adapter" / "fake.json" for number in ("0000", "0001")]
    texts = [place.read_text() for place in places]
    for place, text in zip(places, reversed(texts), strict=True):
        place.write_text(text)
    with pytest.raises(
        CorruptFileError, match=r"(?s)0000/adapter.*0001/adapter.*delete rounds/0000/6_checkpoint\.json"
    ):
        resume_run(run, parts=fakes(run))


def test_an_edited_seed_is_not_hidden_by_deleting_what_says_so(run: Path) -> None:
    (run / "environment.json").unlink()
    change(run / "config.yaml", "seed: 0", "seed: 1")
    with pytest.raises(CorruptFileError, match=r"environment\.json is missing"):
        resume_run(run, parts=fakes(run))
    assert any("environment.json" in problem for problem in verify_run(run).problems)


def test_a_missing_manifest_is_refused_unless_an_earlier_version_wrote_the_run(run: Path) -> None:
    (run / "manifest.jsonl").unlink()
    assert verify_run(run).problems == ["manifest.jsonl is missing or empty"]
    with pytest.raises(CorruptFileError, match=r"manifest\.jsonl is missing or empty"):
        resume_run(run, parts=fakes(run))
    change(run / "environment.json", '"manifest": true,', "")
    assert verify_run(run).good and "No manifest" in iteralign("verify", str(run)).stdout
    resume_run(run, parts=fakes(run))
    assert "earlier version" in read_log(run / "warnings.jsonl")[0]["warning"]
    assert verify_run(run).good and verify_run(run).manifest


def test_what_follows_a_changed_stage_may_be_computed_again(run: Path, whole: Path) -> None:
    change(run / "rounds" / "0001" / "4_revisions.jsonl", '"reason":""', '"reason":"!"')
    for path in sorted((run / "rounds" / "0001").glob("[456789m]*")):
        path.unlink()
    for path in sorted((run / "rounds").glob("*")):
        if path.name > "0001":
            shutil.rmtree(path)
    (run / "metrics.jsonl").unlink()
    resume_run(run, parts=fakes(run))
    assert verify_run(run).problems == []
    same = "rounds/0002/5_examples.jsonl"
    assert (run / same).read_bytes() == (whole / same).read_bytes()


def test_a_stage_that_comes_out_differently_is_not_put_before_what_was_computed_from_the_old_one(run: Path) -> None:
    (run / "rounds" / "0000" / "2_verdicts.jsonl").unlink()
    (run / "metrics.jsonl").unlink()
    parts = fakes(run)
    judged = parts.oracle.judge
    parts.oracle.judge = lambda responses: [  # type: ignore[method-assign]
        one.model_copy(update={"judge": "another"}) for one in judged(responses)
    ]
    with pytest.raises(CorruptFileError, match="not the same"):
        resume_run(run, parts=parts)


def test_edits_of_what_may_change_and_changed_logs_are_no_obstacle(run: Path) -> None:
    change(run / "config.yaml", "token_budget: null", "token_budget: 9000")
    change(run / "timings.jsonl", "stage", "stags")
    assert len(verify_run(run).problems) == 2
    resume_run(run, parts=fakes(run))
    assert verify_run(run).problems == []
    assert "timings.jsonl was changed" in read_log(run / "warnings.jsonl")[0]["warning"]


def test_what_the_files_say_of_each_other_is_compared_without_a_manifest(run: Path) -> None:
    change(run / "environment.json", '"manifest": true,', "")
    (run / "manifest.jsonl").unlink()
    for name, problem in {
        "baseline/2_verdicts.jsonl": "judges other responses",
        "rounds/0000/2_verdicts.jsonl": "judges other responses",
        "rounds/0001/1_responses.jsonl": "judges other responses",
        "rounds/0000/5_examples.jsonl": "was trained on",
        "baseline/7_held_out.jsonl": "was not measured on held_out.jsonl",
    }.items():
        text = (run / name).read_text()
        (run / name).write_text("".join(text.splitlines(keepends=True)[:-1]))
        assert problem in "\n".join(verify_run(run).problems), name
        (run / name).write_text(text)
    assert verify_run(run).good


def test_a_line_of_the_manifest_can_neither_be_changed_nor_left_out(run: Path) -> None:
    path = run / "manifest.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for number in (0, len(lines) // 2, len(lines) - 2):
        path.write_text("".join(lines[:number] + lines[number + 1 :]))
        with pytest.raises(CorruptFileError, match=rf"manifest\.jsonl:{number + 1} was changed"):
            Manifest(run)
    path.write_text("".join(lines[:-1]))  # the last: nothing follows that could tell, but the run
    assert not verify_run(run).good


def test_report_and_cards_say_so_and_push_refuses(run: Path) -> None:
    from iteralign.report.cards import model_card
    from iteralign.report.html import write_report
    from iteralign.report.push import check_unchanged

    said = "This run is not what was computed"
    assert said not in write_report(run, run.parent / "good.html").read_text() and said not in model_card(run, "x")
    check_unchanged(run)
    change(run / "rounds" / "0001" / "2_verdicts.jsonl", '"reason":""', '"reason":"!"')
    assert said in write_report(run, run.parent / "bad.html").read_text() and said in model_card(run, "x")
    with pytest.raises(RunDirectoryError, match=r"not uploaded: rounds/0001/2_verdicts\.jsonl"):
        check_unchanged(run)
    with pytest.raises(RunDirectoryError, match="not uploaded"):
        iteralign("push", str(run), "me/it", "--data", "--yes")


def test_a_report_written_again_belongs_to_the_run(run: Path) -> None:
    assert iteralign("report", str(run)).exit_code == 0
    assert verify_run(run).problems == []
    with (run / "report.html").open("a") as file:
        file.write(" ")
    assert len(verify_run(run).problems) == 1


@pytest.mark.slow
def test_full_weights_are_checked_when_they_are_loaded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    full = {"method": "full", "epochs": 1, "min_benign": 2, "max_length": 256, "learning_rate": 1e-4}
    with pytest.raises(KeyboardInterrupt):
        start_run(load_settings(SETTINGS | {"training": full}), run, progress=Interrupts(1))
    assert verify_run(run).problems == [], "with keep: last the first round's weights are gone, and that is right"
    weights = run / "rounds" / "0001" / "checkpoint" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(
        CorruptFileError, match=r"(?s)checkpoint/model\.safetensors was changed.*delete rounds/0001/6_checkpoint"
    ):
        resume_run(run)
