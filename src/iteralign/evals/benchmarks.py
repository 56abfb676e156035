"""Benchmarks by lm-evaluation-harness: our tasks and any of its own, on a model of this process."""

import contextlib
import difflib
import importlib.util
import logging
import math
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import ConfigError, IteralignError, MissingExtraError, TargetError
from iteralign.evals.rows import ReportedRow, share_row
from iteralign.stats.intervals import bootstrap_mean

TASKS = Path(__file__).parent / "tasks"

ALIASES = {
    "hhh": ("iteralign_hhh_dromedary", "iteralign_hhh_standard"),
    "truthfulqa_mc": ("iteralign_truthfulqa_mc1_dromedary", "iteralign_truthfulqa_mc1_standard"),
}
"""Short names: each benchmark in Dromedary's protocol with its standard form beside it."""

_INSTALL = "Benchmarks need lm-evaluation-harness: pip install 'iteralign[eval]' (or 'lm-eval>=0.4.13,<0.5')."
_NOTES = {
    "half_candidates": "compatibility: later half of the choices left out",
    "dromedary": "Dromedary's protocol",
    "standard": "standard form",
}


def run_benchmarks(
    network: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    path: str,
    metadata: Mapping[str, Any],
    batch_size: int = 16,
    limit: int | None = None,
    chat: bool = False,
) -> dict[str, Any]:
    """lm-eval's results of the tasks, in its own format, samples included.

    `path`: directory or hub id of the model's configuration and tokenizer. `metadata` go to the tasks (`hhh`, `truthfulqa`,
    `meta_prompt` ...). `limit`: so many questions of each task, drawn by chance, the same in every call. `chat` applies the
    chat template to lm-eval's own tasks and to the standard forms. Raises MissingExtraError, ConfigError, TargetError.
    """
    names = [name for task in tasks for name in ALIASES.get(task, (task,))]
    lm_eval, manager = _harness(names, {**metadata, "pretrained": path})
    with _quiet():
        _check_known(manager, names)
        from iteralign.evals.harness_model import SharedHeadLM

        try:
            return dict(
                lm_eval.simple_evaluate(
                    model=SharedHeadLM(network, tokenizer, batch_size),
                    tasks=names,
                    task_manager=manager,
                    samples=_drawn(manager, names, limit),
                    bootstrap_iters=1000,
                    apply_chat_template=chat,
                )
            )
        except IteralignError:
            raise
        except Exception as error:  # of data sets, of the hub, of tasks: all kinds
            raise TargetError(f"lm-eval could not run {', '.join(names)}: {type(error).__name__}: {error}") from error


def not_runnable(tasks: Sequence[str], near: Sequence[str]) -> dict[str, str]:
    """Why each of these can't be run here: without lm-eval none can. Said before any model is loaded.

    Raises ConfigError for one that lm-eval, where it is there, does not know. `near`: names that may have been meant.
    """
    others = [task for task in tasks if task not in ALIASES and not _is_ours(task)]
    if importlib.util.find_spec("lm_eval") is None:
        strange = {task: f"There is no such task of iteralign's own{_meant(task, near)}. " for task in others}
        return {task: strange.get(task, "") + _INSTALL for task in tasks}
    if others:
        _, manager = _harness(others, {})
        _check_known(manager, others, near)
    return {}


def benchmark_rows(results: Mapping[str, Any]) -> list[ReportedRow]:
    """The rows of lm-eval's results, a group before its tasks."""
    samples: Mapping[str, Any] = results.get("samples", {})
    groups: Mapping[str, Sequence[str]] = results.get("group_subtasks", {})
    parts = {name: [name] if name in samples else _leaves(name, groups, samples) for name in results["results"]}
    rows = []
    for name in sorted(parts, key=lambda name: (name.startswith("iteralign_truthfulqa"), name)):
        kept = [{**sample, "item": f"{part}/{sample['doc_id']}"} for part in parts[name] for sample in samples[part]]
        config = results["configs"].get(parts[name][0], {}) if parts[name] else {}
        rows += _rows(name, results["results"][name], kept, config.get("output_type") == "multiple_choice")
    return rows


def summary(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results as lm-eval writes them to a file: without the samples and without what JSON can't hold."""
    import json

    kept = {key: value for key, value in results.items() if key != "samples"}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


def _leaves(name: str, groups: Mapping[str, Sequence[str]], samples: Mapping[str, Any]) -> list[str]:
    """The tasks below a group, through groups of groups."""
    found: list[str] = []
    for member in groups.get(name, ()):
        found += [member] if member in samples else _leaves(member, groups, samples)
    return found


def _drawn(manager: Any, names: Sequence[str], limit: int | None) -> dict[str, list[int]] | None:
    """Places of so many questions of each task. lm-eval's own limit takes the first, which are often of one kind."""
    if limit is None:
        return None
    counts = {name: len(task.eval_docs) for name, task in manager.load(names)["tasks"].items()}
    return {name: sorted(random.Random(0).sample(range(count), min(limit, count))) for name, count in counts.items()}


def _rows(
    name: str, values: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], choice: bool
) -> list[ReportedRow]:
    """One row for each `metric,filter` of a task's values."""
    rows = []
    for key, value in values.items():
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        scored = [sample for sample in samples if metric in sample and sample.get("filter", "none") == filtered]
        stderr = values.get(f"{metric}_stderr,{filtered}")
        half = 1.96 * stderr if isinstance(stderr, int | float) else math.nan
        label = metric if filtered == "none" else f"{metric} ({filtered})"
        reported = ReportedRow(name, label, value, value - half, value + half, len(scored), "stderr", None, _note(name))
        scores = {sample["item"]: sample[metric] for sample in scored}
        rows.append(_with_interval(reported, scores, _chance(scored) if choice else None))
    return rows


def _with_interval(row: ReportedRow, by_item: Mapping[str, Any], chance: float | None) -> ReportedRow:
    """Wilson for right or wrong, bootstrap for other means; what is no mean of its samples keeps lm-eval's own error."""
    scores = list(by_item.values())
    if not scores or not all(isinstance(score, int | float) for score in scores):
        return row
    if not math.isclose(math.fsum(scores) / len(scores), row.value, abs_tol=1e-9):
        return row
    if all(score in (0, 1) for score in scores):
        return share_row(row.task, row.metric, {item: score == 1 for item, score in by_item.items()}, chance, row.note)
    mean = bootstrap_mean(scores)
    return ReportedRow(row.task, row.metric, mean.value, *mean.interval, mean.total, "bootstrap", None, row.note)


def _note(name: str) -> str:
    return next((text for part, text in _NOTES.items() if name.startswith("iteralign_") and part in name), "")


def _chance(samples: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean of one over the number of choices."""
    if not samples:
        return None
    each = [sample["doc"].get("chance") or 1 / max(1, len(sample["arguments"])) for sample in samples]
    return math.fsum(each) / len(each)


def _harness(names: Sequence[str], metadata: Mapping[str, Any]) -> tuple[Any, Any]:
    try:
        import lm_eval
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtraError(_INSTALL) from error
    own = all(_is_ours(name) for name in names)
    with _quiet():  # reading the thousands of tasks that lm-eval has takes longer than a small evaluation
        return lm_eval, TaskManager(include_path=str(TASKS), metadata=dict(metadata), include_defaults=not own)


def _is_ours(name: str) -> bool:
    return (TASKS / f"{name}.yaml").exists()


def _check_known(manager: Any, names: Sequence[str], near: Sequence[str] = ()) -> None:
    unknown = [name + _meant(name, near) for name in names if not manager.match_tasks([name])]
    if unknown:
        raise ConfigError(f"There is no task {', '.join(unknown)}. `lm_eval ls tasks` lists lm-eval's.")


def _meant(name: str, near: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, [*ALIASES, *near], 1)
    return f" (did you mean {found[0]}?)" if found else ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval's bars and notes, and what git says to it, held back: they are of no use beside our table."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "transformers")]
    levels = [logger.level for logger in loggers]
    kept = os.dup(2)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
