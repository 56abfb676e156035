"""A run's pairs and principles in the forms that other tools read."""

import json
from pathlib import Path
from typing import get_args

from iteralign.constitution.forms import written
from iteralign.errors import ConfigError
from iteralign.files import write_text
from iteralign.records import TrainingExample
from iteralign.redteam.forms import in_forms
from iteralign.rundir.reader import read_run
from iteralign.settings.choices import PairForm


def export_pairs(run_dir: Path, form: str, output: Path) -> int:
    """Write the verified pairs of all rounds as JSONL; returns the number of rows.

    `sft`: prompt, completion (benign pairs too). `dpo`: prompt, chosen, rejected: the verified revision against the failed
    answer. Both are trl's standard (not conversational) data set forms. Replayed rows are left out: they are doubles. Where
    the run wrote prompts itself, each row says whether its prompt is one of them (`source`: grown, twin or given).
    """
    rows, written_ids = pairs(run_dir), ids_written(run_dir)
    lines: list[dict[str, str | None]]
    match form:
        case "sft":
            lines = [
                {"prompt": row.prompt, "completion": row.completion, **_source(row, written_ids)}
                for row in rows
                if row.kind != "replay"
            ]
        case "dpo":
            lines = [
                {"prompt": row.prompt, "chosen": row.completion, "rejected": row.rejected, **_source(row, written_ids)}
                for row in rows
                if row.kind == "revision"
            ]
        case _:
            raise ConfigError(f"{form} is no form of pairs: choose {', '.join(get_args(PairForm))}.")
    distinct = list(dict.fromkeys(json.dumps(line, ensure_ascii=False) for line in lines))
    write_text(output, "".join(line + "\n" for line in distinct))
    return len(distinct)


def pairs(run_dir: Path) -> list[TrainingExample]:
    """Every row that the run trained on, in the order of the rounds."""
    return [row for one in read_run(run_dir).rounds() for row in one.examples()]


def ids_written(run_dir: Path) -> dict[str, str]:
    """The prompts that the run wrote, in whatever form they were asked: by id, what they are."""
    run = read_run(run_dir)
    grown = [prompt for one in run.rounds() for prompt in one.grown()]
    twins = [verdict.response.prompt for one in run.rounds() for verdict in one.twins()]
    return {prompt.id: prompt.source for prompt in (*in_forms(grown, run.settings.redteam.forms), *twins)}


def _source(row: TrainingExample, written_ids: dict[str, str]) -> dict[str, str | None]:
    return {"source": written_ids.get(row.prompt_id, "given")} if written_ids else {}


def constitution_text(run_dir: Path, form: str) -> str:
    """The constitution in one of the forms of `choices`."""
    return written(form, *read_run(run_dir).constitution())
