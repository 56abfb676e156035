"""What would stop a run before its first round, found before anything is written: `plan` asks the same as `run`.

All of it is read and built by the functions by which the run reads and builds it, so that no rule stands here a second time.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from iteralign.errors import ConfigError
from iteralign.oracles.guards.judge import check_rendering
from iteralign.oracles.prices import load_prices
from iteralign.prompts.forms import PromptForm
from iteralign.records import RedTeamPrompt
from iteralign.rundir.directory import check_free
from iteralign.runs import build, prompt_sets
from iteralign.runs.parts import Parts, build_parts
from iteralign.runs.prompt_sets import PromptSets
from iteralign.settings.addresses import asked
from iteralign.settings.oracle import LOCAL, GuardSettings
from iteralign.settings.settings import Settings
from iteralign.steps.measure import file_texts
from iteralign.weights.files import encode, surely_fits
from iteralign.weights.loading import check_tensors
from iteralign.weights.model import LocalModel


class Ready(NamedTuple):
    """What was read on the way."""

    sets: PromptSets
    parts: Parts
    """For their model and form alone: they keep their accounts nowhere."""


def check(settings: Settings, directory: Path | None, sets: PromptSets | None = None, **own: Any) -> Ready:
    """Raises the IteralignError that the run would end with. Nothing is written, no server is asked, no weights are read.

    `own` are parts that replace what the settings name (those of parts.build_parts), `sets` prompts that do: of what they
    replace nothing is asked.
    """
    if directory is not None:
        check_free(directory, settings)
    sets = sets or prompt_sets.build_prompts(settings)
    build.build_constitution(settings)
    if settings.measure.capability not in (None, "own"):
        file_texts(settings.measure.capability)
    build.build_similarity(settings)(["a text"], ["another"])
    kept_apart = settings.model_copy(update={"oracle": settings.oracle.model_copy(update={"cache": False})})
    with tempfile.TemporaryDirectory(prefix="iteralign-check-") as place:
        parts = build_parts(kept_apart, Path(place), **own)
    if own.get("oracle") is None:
        _check_oracle(settings)
    if own.get("target") is None or own.get("trainer") is None:
        model = parts.model or build.build_model(settings)
        _check_model(model)
        if own.get("target") is None:
            _check_room(model, parts.form, sets.prompts, settings.sampling.max_new_tokens)
    return Ready(sets, parts)


def _check_oracle(settings: Settings) -> None:
    """What building it leaves to its first use."""
    load_prices(settings.oracle.prices_file)
    for guard in settings.oracle.guards:
        if guard.base_url is None:
            check_guard(guard)
    for endpoint in asked(settings.oracle):
        if endpoint.base_url == LOCAL:
            _check_model(build.build_oracle_model(endpoint))


def check_guard(guard: GuardSettings) -> None:
    """A local guard: its model but for the weights, and whether that is shown what this family asks."""
    model = build.build_guard_model(guard)
    _check_model(model)
    check_rendering(build.build_family(guard), model)


def _check_model(model: LocalModel) -> None:
    """All but the weights themselves; of files that passed it before, only what else was asked for."""
    assert model.device
    if model.attention is not None or model.kept is None:
        assert model.tokenizer
        model.empty_network(model.attention)
        check_tensors(model)
        model.keep()


def _check_room(model: LocalModel, form: PromptForm, prompts: Sequence[RedTeamPrompt], answer: int) -> None:
    """That at least one prompt can be answered."""
    context = model.context_length
    if context is None:
        return
    shortest = context
    if any(surely_fits(form.render(prompt), context - answer) for prompt in prompts):
        return
    for prompt in prompts:
        shortest = min(shortest, len(encode(model.tokenizer, form.render(prompt))))
        if shortest + answer <= context:
            return
    raise ConfigError(
        f"No prompt fits the model's context of {context:,} tokens with an answer of {answer:,}, and the shortest takes "
        f"{shortest:,}: lower sampling.max_new_tokens."
    )
