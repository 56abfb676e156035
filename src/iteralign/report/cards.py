"""Model and data set cards of a run, by huggingface_hub: how it was made, what was measured, what that can't show."""

import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import iteralign
from iteralign import layout
from iteralign.constitution.ledger import in_force
from iteralign.errors import RunDirectoryError
from iteralign.files import write_text
from iteralign.integrity.verify import verify_run
from iteralign.report.export import export_pairs
from iteralign.report.gains import headlines
from iteralign.report.limits import limits
from iteralign.rundir.reader import Run, read_run
from iteralign.scoreboard.ending import ending
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.text.control import in_markdown

TAGS = ["iteralign", "alignment", "constitutional-ai", "red-teaming"]


def write_cards(run_dir: Path, directory: Path) -> list[Path]:
    """model_card.md and dataset_card.md in `directory`. Raises RunDirectoryError for a run that is not finished."""
    name, files = Path(os.path.realpath(run_dir)).name, card_files(directory)
    texts = [model_card(run_dir, name), dataset_card(run_dir, name)]
    for file, text in zip(files, texts, strict=True):
        write_text(file, text)
    return files


def card_files(directory: Path) -> list[Path]:
    """Where the model's and the data's card go."""
    return [directory / name for name in (layout.MODEL_CARD, layout.DATASET_CARD)]


def model_card(run_dir: Path, name: str) -> str:
    """The README.md of the aligned model under this name. Raises RunDirectoryError for a run that is not finished."""
    from huggingface_hub import ModelCard, ModelCardData

    run = _finished(run_dir)
    base = run.settings.model.path
    data = ModelCardData(
        base_model=_on_hub(base),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=TAGS,
    )
    rows = run.metrics()
    return str(
        ModelCard.from_template(
            data,
            template_str=_template(layout.MODEL_CARD),
            name=in_markdown(name),
            problem=_problem(run_dir),
            base=_base(run),
            version=iteralign.__version__,
            ending=in_markdown(ending(rows).happened),
            form=run.settings.form.name,
            table=_table(rows),
            facts=_facts(run, rows),
            interventions=[item.model_dump() | {"reason": in_markdown(item.reason)} for item in run.interventions()],
            principles=[in_markdown(one.text) for one in in_force(run.constitution()[0])],
            limits=_limits(run, rows),
        )
    )


def dataset_card(run_dir: Path, name: str) -> str:
    """The README.md of the run's pairs under this name. Raises RunDirectoryError for a run that is not finished."""
    from huggingface_hub import DatasetCard, DatasetCardData

    run = _finished(run_dir)
    columns = {"sft": "prompt, completion", "dpo": "prompt, chosen, rejected"}
    with tempfile.TemporaryDirectory() as place:
        counts = {form: export_pairs(run_dir, form, Path(place) / form) for form in columns}
    configs = [{"config_name": form, "data_files": f"{form}.jsonl"} for form in columns if counts[form]]
    rows = run.metrics()
    return str(
        DatasetCard.from_template(
            DatasetCardData(tags=TAGS, task_categories=["text-generation"], configs=configs),
            template_str=_template(layout.DATASET_CARD),
            name=in_markdown(name),
            problem=_problem(run_dir),
            base=_base(run),
            version=iteralign.__version__,
            files=[(f"{form}.jsonl", f"{counts[form]:,}", columns[form]) for form in columns],
            facts=_facts(run, rows),
            limits=_limits(run, rows),
        )
    )


def _problem(run_dir: Path) -> str | None:
    problems = verify_run(run_dir, big=False).problems
    return in_markdown(problems[0]) if problems else None


def _finished(run_dir: Path) -> Run:
    run = read_run(run_dir)
    if not run.finished:
        raise RunDirectoryError(
            f"{run_dir} is not finished, so its card would not be true. Go on by `iteralign resume`."
        )
    return run


def _template(name: str) -> str:
    return resources.files("iteralign.report").joinpath(name).read_text(encoding="utf-8")


def _base(run: Run) -> str:
    return (
        "the demo's model"
        if run.settings.model.path == "demo"
        else f"`{_name(run.settings.model.path).replace('`', '')}`"
    )


def _on_hub(path: str) -> str | None:
    """The base model's repository on the hub; None for a local one."""
    repository, _, file = path.partition(":")
    local = Path(path).exists() or (path.endswith(".gguf") and not file)
    return None if local or repository.count("/") != 1 else repository


def _name(path: str) -> str:
    """A local path by its last part: where it lay on somebody's machine is nobody's business."""
    return Path(path).name if Path(path).exists() or path.count("/") != 1 else path


def _table(rows: list[RoundMetrics]) -> str:
    lines = [
        f"| {line.name} | {line.before} | {line.after} | {line.verdict}{f' ({line.change})' if line.change else ''} |"
        for line in headlines(rows[0], final(rows))
    ]
    return (
        "\n".join(["| | before | after | change |", "|---|---|---|---|", *lines]) if lines else "Nothing was measured."
    )


def _facts(run: Run, rows: list[RoundMetrics]) -> list[tuple[str, str]]:
    settings, training = run.settings, run.settings.training
    written = sum(len(one.grown()) for one in run.rounds())
    twins = sum(len(one.twins()) for one in run.rounds())
    facts: dict[str, Any] = {
        **({"run": settings.name} if settings.name else {}),
        "base model": _name(settings.model.path),
        "red-team prompts": f"{_name(settings.data.prompts)}, {run.count(layout.PROMPTS):,} for training, "
        f"{run.count(layout.HELD_OUT):,} held out",
        **({"prompts written from failures": f"{written:,} (redteam.grow)"} if written else {}),
        "benign prompts": f"{_name(settings.data.benign or 'none')}, {run.count(layout.BENIGN):,} for replay, "
        f"{run.count(layout.BENIGN_HELD_OUT):,} held out",
        **({"benign prompts written beside failures": f"{twins:,} (constitution.twins)"} if twins else {}),
        "judge": run.judge,
        "rounds": f"{len(rows) - 1}, of which {sum(row.trained for row in rows)} trained",
        "weights": "the base model's" if rows[-1].weights < 0 else f"those after round {rows[-1].weights}",
        "training": f"{training.method}, learning rate {training.learning_rate:g}, {training.epochs} epochs",
        "seed": settings.seed,
        "constitution": f"{sum(row.principles for row in rows)} principles",
    }
    return [(key, in_markdown(str(value))) for key, value in facts.items()]


def _limits(run: Run, rows: list[RoundMetrics]) -> list[str]:
    return limits(run.settings, tuple(map(in_markdown, run.judges)), rows, *run.before_and_after(), finished=True)
