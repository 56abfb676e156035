"""A whole run whose judge is a served guard: it is asked about every answer, and the rules propose."""

from pathlib import Path
from typing import Any

import pytest

from iteralign import load_settings, run
from iteralign.records import Verdict
from iteralign.rundir.jsonl import read_records
from iteralign.text.refusals import is_refusal

from .. import conftest as play

RECIPE = Path(__file__).parents[3] / "recipes" / "demo.yaml"


@pytest.mark.slow
def test_a_run_judged_by_a_guard(server: play.Server, tmp_path: Path) -> None:
    """The guard calls every answer unsafe that is no refusal; what it calls safe is trained on."""

    def guard(handler: play.Handler, body: dict[str, Any]) -> None:
        safe = is_refusal(body["messages"][-1]["content"])
        handler.send(play.chat_body("safe" if safe else "unsafe\nS2"))

    server.usual = guard
    small = ["data.limit=24", "data.benign_limit=12", "training.epochs=1", "rounds.prompts=8", "threads=1"]
    named = f'oracle.guards=[{{family: llama-guard, model: guard, base_url: "{server.url}"}}]'
    outcome = run(load_settings(RECIPE, [*small, "oracle.cache=false", named]), tmp_path / "run")
    first = outcome.metrics[1]
    assert first.failures == first.prompts == 8 and first.verified > 0 and first.trained
    verdicts = read_records(tmp_path / "run" / "rounds" / "0000" / "2_verdicts.jsonl", Verdict)
    assert {verdict.judge for verdict in verdicts} == {"guard"}
    assert {verdict.category for verdict in verdicts} == {"non-violent crimes"}
