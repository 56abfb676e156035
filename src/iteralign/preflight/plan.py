"""What a run would take, computed from its settings and inputs; nothing is started and no weights are read."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from iteralign.constitution.gate import most_answers
from iteralign.oracles.prices import load_prices
from iteralign.preflight import cluster
from iteralign.preflight.cost import (
    Answers,
    Budget,
    Money,
    Range,
    StepCost,
    budgets,
    most_twins,
    step_costs,
    total_cost,
)
from iteralign.preflight.hours import Counts, Hours, measured_hours
from iteralign.preflight.memory import memory_of
from iteralign.prompts.forms import Place, PromptForm
from iteralign.redteam.forms import in_forms
from iteralign.runs import check as preflight
from iteralign.settings.addresses import asked, described, with_addresses
from iteralign.settings.settings import Settings
from iteralign.steps.place import PROMPTS as PLACE_PROMPTS
from iteralign.targets.tokens import encoded
from iteralign.weights.files import surely_fits
from iteralign.weights.model import LocalModel


@dataclass(frozen=True)
class Plan:
    """Estimates; a range where the failures, which nobody knows beforehand, decide."""

    prompts: int
    held_out: int
    benign: int
    benign_held_out: int
    too_long: list[str]
    """Ids of prompts that don't fit the context with an answer; they would not be judged."""
    rounds: int
    oracle_calls: Range
    oracle_tokens: Range
    oracle_cost: Money | None
    """None where a price is unknown."""
    oracle_steps: list[StepCost]
    budgets: list[Budget]
    answers: Answers
    """By the target, to be judged."""
    generated_tokens: Range
    trial_answers: Range
    """Answers by which proposed principles, and places for them, are tried; part of the generated tokens and calls."""
    trainings: int
    """At most; one a round."""
    trained_rows: Range
    parameters: int
    trained_parameters: int
    memory_bytes: int
    """Weights, gradients and optimiser while training, of all its processes; activations are not in it."""
    process_bytes: int
    """The same on each device that trains."""
    host_bytes: int
    """In the machine's own memory: what computes there, and what is set aside while something else has the devices."""
    answering_bytes: int
    """On each device that answers: the weights, with vLLM also its cache. 0 where a server answers."""
    disk_bytes: Range
    notes: list[str]
    time: Hours | None = None
    """By a measurement with the model itself (plan_hours.measured_hours); None without one."""


def make_plan(settings: Settings, *, measure: bool = False) -> Plan:
    """Raises IteralignError for whatever would stop the run before its first round (preflight.check).

    `measure` loads the model, answers for half a minute, trains two steps and asks for one verdict.
    """
    return planned(settings, preflight.check(with_addresses(settings), settings.run_dir), measure=measure)


def planned(settings: Settings, ready: preflight.Ready, *, measure: bool = False) -> Plan:
    """The plan of settings that were checked."""
    sets, model = ready.sets, ready.parts.model
    assert model is not None  # the settings' own
    notes = [*sets.notes, *(f"oracle: {described(one)}" for one in asked(settings.oracle))]
    settings = with_addresses(settings)
    pool = in_forms(sets.prompts, settings.redteam.forms)
    too_long = _too_long(model, map(ready.parts.form.render, pool), settings)
    prompts = len(pool)
    rounds = math.ceil(prompts / settings.rounds.prompts)
    if settings.rounds.limit is not None:
        rounds = min(rounds, settings.rounds.limit)
        prompts = min(prompts, rounds * settings.rounds.prompts)
    held_out = len(sets.held_out) + len(sets.benign_held_out)
    answers = Answers(
        looped=Range(prompts + len(sets.benign), prompts + len(sets.benign) + most_twins(settings, rounds)),
        measured=Range(held_out, held_out * (1 + math.ceil(rounds / settings.measure.every))),
        revised=Range(0, prompts * settings.revision.tries),
        tried=_trials(settings, rounds) + _places(settings, prompts),
    )
    shown = _shown(settings, ready.parts.form, len(sets.benign_held_out))
    characters = sum(len(prompt.question) for prompt in sets.prompts)
    characters += sum(len(turn.text) for prompt in sets.prompts for turn in prompt.history)
    prices = load_prices(settings.oracle.prices_file)
    steps = step_costs(settings, answers, rounds, characters // len(sets.prompts), prices)
    tokens = sum((step.prompt_tokens + step.completion_tokens for step in steps), Range(0, 0))
    cost = total_cost(steps)
    calls = sum((step.calls for step in steps), Range(0, 0))
    rows = _rows(settings, prompts, rounds)
    counts = Counts(
        answers=answers,
        shown=shown,
        revision_texts=_texts_of_a_revision(settings),
        calls=calls if steps else answers.total(),
        trainings=rounds,
        rows=rows,
        scored=len(sets.benign_held_out),
    )
    sizes = _sizes(settings, model)
    memory = memory_of(
        settings,
        model.device,
        parameters=sizes["parameters"],
        trained=sizes["trained"],
        width=sizes["weight_bytes"],
        generating=4 if model.arithmetic.generating == "float32" else 2,
        cached=model.sizes.cached,
        context=model.sizes.context,
    )
    if settings.cluster.address is not None:
        notes.append(f"cluster: {cluster.described(settings)}")
    if settings.oracle.kind == "rules":
        notes.append("oracle: the rules that ship with iteralign, a stand-in that needs no calls")
    return Plan(
        prompts=prompts,
        held_out=len(sets.held_out),
        benign=len(sets.benign),
        benign_held_out=len(sets.benign_held_out),
        too_long=[pool[index].id for index in too_long],
        rounds=rounds,
        oracle_calls=calls,
        oracle_tokens=tokens,
        oracle_cost=cost,
        oracle_steps=steps,
        budgets=budgets(settings, tokens, cost),
        answers=answers,
        generated_tokens=_generated(settings, answers, shown),
        trial_answers=answers.tried,
        trainings=rounds,
        trained_rows=rows,
        parameters=sizes["parameters"],
        trained_parameters=sizes["trained"],
        memory_bytes=memory.training,
        process_bytes=memory.process,
        host_bytes=memory.host,
        answering_bytes=memory.answering,
        disk_bytes=_disk(settings, sizes, rounds),
        notes=notes,
        time=measured_hours(settings, sets.prompts, counts) if measure else None,
    )


def _too_long(model: LocalModel, inputs: Iterable[str], settings: Settings) -> list[int]:
    """Places of the inputs that don't fit the context with an answer. Only those are tokenised, and kept until then, of which
    the length does not tell."""
    if model.context_length is None:
        return []
    room = model.context_length - settings.sampling.max_new_tokens
    unsure = {index: text for index, text in enumerate(inputs) if not surely_fits(text, room)}
    _, too_long = encoded(model, list(unsure.values()), settings.sampling)
    places = list(unsure)
    return [places[index] for index in too_long]


def _texts_of_a_revision(settings: Settings) -> int:
    """Texts that the target writes for one revision, at most."""
    return {"block": 1, "critique": 2, "sequential": settings.revision.max_principles}[settings.revision.mode]


def _shown(settings: Settings, form: PromptForm, benign: int) -> Range:
    """Answers behind examples, which the capability check is made of where principles stand among these; nobody judges them."""
    places = settings.form.principles
    if settings.measure.capability != "own" or places not in ("few-shot", "auto") or "few-shot" not in form.places():
        return Range(0, 0)
    return Range(benign if places == "few-shot" else 0, benign)


def _generated(settings: Settings, answers: Answers, shown: Range) -> Range:
    written = answers.total() + shown + answers.revised * (_texts_of_a_revision(settings) - 1)
    return Range(written.least, written.most * settings.sampling.max_new_tokens)


def _rows(settings: Settings, prompts: int, rounds: int) -> Range:
    """Rows of all trainings: at most every prompt fails and is mended."""
    training, size = settings.training, min(prompts, settings.rounds.prompts)
    again = max(training.min_replay, training.replay * size)
    benign = max(training.min_benign, training.benign_share * (size + again))
    beside = again + benign
    if twins := most_twins(settings, rounds):
        beside += benign  # of earlier twins
    return Range(0, prompts + math.ceil(rounds * beside) + twins)


def _trials(settings: Settings, rounds: int) -> Range:
    """Of the gate: from no failure to as many principles as the proposer may give, in every round."""
    if not settings.constitution.gate.enabled or not (settings.constitution.propose or settings.constitution.file):
        return Range(0, 0)
    gate = settings.constitution.gate
    principles = settings.oracle.max_principles
    known = settings.oracle.kind == "rules" and settings.constitution.file is None
    return Range(0, rounds * (min(gate.max_answers, most_answers(gate, principles)) if known else gate.max_answers))


def _places(settings: Settings, prompts: int) -> Range:
    """Of the trial before the first round: without principles, and in each place where all failed."""
    if settings.form.principles != "auto":
        return Range(0, 0)
    asked = min(prompts, PLACE_PROMPTS)
    most = len(get_args(Place)) - 1  # a chat has a system message, a transcript a head with examples, none both
    return Range(asked, asked + PLACE_PROMPTS + most * (asked + PLACE_PROMPTS))


def _sizes(settings: Settings, model: LocalModel) -> dict[str, int]:
    """Parameters, trained parameters, bytes of a number of the weights in training."""
    training, sizes = settings.training, model.sizes
    weight_bytes = 4 if training.method == "full" or model.dtype == "float32" else 2
    trained = sizes.parameters if training.method == "full" else training.lora_r * sizes.a_rank
    return {"parameters": sizes.parameters, "trained": trained, "weight_bytes": weight_bytes}


def _disk(settings: Settings, sizes: dict[str, int], rounds: int) -> Range:
    final = sizes["parameters"] * sizes["weight_bytes"]
    if settings.training.method == "lora":
        return Range(final, final + rounds * sizes["trained"] * 4)
    # last: the new one is written before the old one goes
    kept = {"all": rounds, "last": min(rounds, 2)}[settings.training.keep]
    return Range(final, final + kept * sizes["parameters"] * 4)
