"""Every row of training leads back to its question and on to its weights, and all places named are there."""

import hashlib
import json
from pathlib import Path

import pytest
from cli.test_init import iteralign
from report.conftest import fake_run

from iteralign.errors import ConfigError
from iteralign.integrity.trace import Trace, trace_run
from iteralign.records import TrainingExample
from iteralign.rundir.jsonl import read_records


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run(tmp_path_factory.mktemp("trace") / "run")


def check_places(found: Trace) -> None:
    for step in found.steps:
        name, _, line = step.where.partition(":")
        data = (found.run / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == step.sha256
        assert not line or json.loads(data.splitlines()[int(line) - 1])


def test_the_chain_of_every_row(run: Path) -> None:
    rows = read_records(run / "rounds" / "0000" / "5_examples.jsonl", TrainingExample)
    assert {row.kind for row in rows} == {"revision", "benign"}
    for number, row in enumerate(rows, start=1):
        found = trace_run(run, f"0:{number}")
        kinds = [step.kind for step in found.steps]
        links = ["prompt", "response", "verdict", "row", "checkpoint", "weights"]
        links += ["principle", "revision"] if row.kind == "revision" else []
        assert set(links) <= set(kinds) and kinds.count("row") == 1
        assert kinds.index("prompt") < kinds.index("response") < kinds.index("verdict") < kinds.index("row")
        assert kinds.index("row") < kinds.index("checkpoint") < kinds.index("weights")
        check_places(found)


def test_a_prompt_and_a_principle_lead_to_one_another(run: Path) -> None:
    row = read_records(run / "rounds" / "0000" / "5_examples.jsonl", TrainingExample)[0]
    of_prompt, of_principle = trace_run(run, row.prompt_id), trace_run(run, row.principles[0])
    assert (of_prompt.asked, of_principle.asked) == ("prompt", "principle")
    places = [{step.where for step in found.steps} for found in (of_prompt, of_principle)]
    assert all("rounds/0000/5_examples.jsonl:1" in found for found in places)
    assert any(place.startswith("rounds/0000/3_principles.jsonl") for place in places[0] & places[1])
    assert len(places[1]) > len(places[0]), "a principle has the rows of all its failures"
    check_places(of_principle)


def test_the_command(run: Path) -> None:
    done = iteralign("trace", str(run), "0:1")
    assert done.exit_code == 0 and "rounds/0000/5_examples.jsonl:1" in done.stdout
    assert json.loads(iteralign("trace", str(run), "0:1", "--json").stdout)["asked"] == "row"


@pytest.mark.parametrize("ident", ["nobody", "0:0", "0:999", "99:1", ""])
def test_what_the_run_does_not_know(run: Path, ident: str) -> None:
    with pytest.raises(ConfigError, match=r"knows no prompt|there is no"):
        trace_run(run, ident)


def test_a_changed_run_is_traced_with_a_warning(run: Path) -> None:
    path = run / "rounds" / "0000" / "4_revisions.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"attempt":0', '"attempt":1', 1))
    done = iteralign("trace", str(run), "0:1")
    assert done.exit_code == 1 and "Not to be relied on: rounds/0000/4_revisions.jsonl was changed" in done.stdout
    path.write_text(text)
