"""What a run would take, computed from its settings and inputs; nothing is started and no weights are read."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iteralign import build, prompt_sets
from iteralign.addresses import asked, described, with_addresses
from iteralign.config import Settings
from iteralign.constitution.gate import most_answers
from iteralign.errors import IteralignError
from iteralign.model import LocalModel


@dataclass(frozen=True)
class Range:
    """From no failure at all to every answer failing and every try being used."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,} to {self.most:,}"


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
    generated_tokens: Range
    trial_answers: Range
    """Answers by which proposed principles are tried; part of the generated tokens and the oracle calls."""
    trained_rows: Range
    parameters: int | None
    """None where the model's configuration can't be read."""
    trained_parameters: int | None
    memory_bytes: int | None
    """Weights, gradients and optimiser while training; activations are not in it."""
    disk_bytes: Range | None
    notes: list[str]


_JUDGE_TEXT = 700  # tokens of the judge's instructions and reply together, about
_PROPOSE_TEXT = 1500


def make_plan(settings: Settings) -> Plan:
    """Raises IteralignError for whatever would stop the run before its first round."""
    sets = prompt_sets.build_prompts(settings)
    notes = [*sets.notes, *(f"oracle: {described(one)}" for one in asked(settings.oracle))]
    settings = with_addresses(settings)
    model = build.build_model(settings, Path())
    form = build.build_form(settings, model)
    count, too_long = _lengths(settings, model, [form.render(prompt) for prompt in sets.prompts])
    prompts = len(sets.prompts)
    rounds = math.ceil(prompts / settings.rounds.prompts)
    if settings.rounds.limit is not None:
        rounds = min(rounds, settings.rounds.limit)
        prompts = min(prompts, rounds * settings.rounds.prompts)
    measured = len(sets.held_out) + len(sets.benign_held_out)
    trainings = Range(0, math.ceil(rounds / settings.measure.every))
    tries, new_tokens = settings.revision.tries, settings.sampling.max_new_tokens
    answers = Range(
        prompts + len(sets.benign) + measured,
        prompts * (1 + tries) + len(sets.benign) + measured * (1 + trainings.most),
    )
    trials = _trials(settings, rounds)
    answers = Range(answers.least, answers.most + trials.most)
    proposals = 0 if settings.oracle.kind == "rules" else rounds * (1 + _comparisons(settings))
    judged = 0 if settings.oracle.kind == "rules" else 1
    judged *= settings.oracle.votes * (1 + len(settings.oracle.panel))
    calls = Range(judged * answers.least, judged * answers.most + proposals)
    average = count // max(prompts, 1)
    per_call = _JUDGE_TEXT + average + new_tokens
    rows = Range(0, math.ceil(prompts * (1 + settings.training.replay + settings.training.benign)))
    sizes = _sizes(settings, model, notes)
    if settings.oracle.kind == "rules":
        notes.append("oracle: the rules that ship with iteralign, a stand-in that needs no calls")
    return Plan(
        prompts=prompts,
        held_out=len(sets.held_out),
        benign=len(sets.benign),
        benign_held_out=len(sets.benign_held_out),
        too_long=[sets.prompts[index].id for index in too_long],
        rounds=rounds,
        oracle_calls=calls,
        oracle_tokens=Range(calls.least * (_JUDGE_TEXT + average), calls.most * per_call + proposals * _PROPOSE_TEXT),
        generated_tokens=Range(answers.least, answers.most * new_tokens),
        trial_answers=trials,
        trained_rows=rows,
        parameters=sizes.get("parameters"),
        trained_parameters=sizes.get("trained"),
        memory_bytes=sizes.get("memory"),
        disk_bytes=_disk(settings, sizes, rounds),
        notes=notes,
    )


def size_text(count: int) -> str:
    """Bytes in a readable unit."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _trials(settings: Settings, rounds: int) -> Range:
    """Of the gate: from no failure to as many principles as the proposer may give, in every round."""
    if not settings.constitution.gate.enabled or not (settings.constitution.propose or settings.constitution.file):
        return Range(0, 0)
    gate = build.build_gate(settings)
    principles = settings.oracle.max_principles
    known = settings.oracle.kind == "rules" and settings.constitution.file is None
    return Range(0, rounds * (min(gate.max_answers, most_answers(gate, principles)) if known else gate.max_answers))


def _comparisons(settings: Settings) -> int:
    """Pairs of principles that the oracle is asked about in a round at most, where one group of failures is proposed for."""
    chosen = settings.constitution
    return settings.oracle.max_principles * chosen.neighbours if chosen.doubles and chosen.propose else 0


def _lengths(settings: Settings, model: LocalModel, texts: list[str]) -> tuple[int, list[int]]:
    """(tokens of all prompts, indices of those that don't fit)."""
    lengths = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
    context = model.context_length or 10**9
    too_long = [index for index, length in enumerate(lengths) if length + settings.sampling.max_new_tokens > context]
    return sum(lengths), too_long


def _sizes(settings: Settings, model: LocalModel, notes: list[str]) -> dict[str, int]:
    """Parameters, trained parameters, bytes of memory; {} where the model's configuration can't be read."""
    try:
        network = model.empty_network()
    except (IteralignError, OSError, ValueError) as error:
        notes.append(f"model size unknown: {error}")
        return {}
    parameters = sum(weight.numel() for weight in network.parameters())
    training = settings.training
    weight_bytes = 4 if training.method == "full" or model.dtype == "float32" else 2
    trained = parameters if training.method == "full" else _lora_parameters(network, training.lora_r)
    # AdamW keeps two moments in float32 beside weights and gradients (16 bytes a trained parameter in all).
    memory = parameters * weight_bytes + trained * (12 if training.method == "full" else 16)
    return {"parameters": parameters, "trained": trained, "memory": memory, "weight_bytes": weight_bytes}


def _lora_parameters(network: Any, rank: int) -> int:
    """Of adapters on the attention's projections, or on all linear layers where those have other names."""
    layers = {name: layer for name, layer in network.named_modules() if hasattr(layer, "in_features")}
    attention = [name for name in layers if name.rsplit(".", 1)[-1] in ("q_proj", "k_proj", "v_proj", "o_proj")]
    return sum(rank * (layers[name].in_features + layers[name].out_features) for name in attention or layers)


def _disk(settings: Settings, sizes: dict[str, int], rounds: int) -> Range | None:
    if not sizes:
        return None
    final = sizes["parameters"] * sizes["weight_bytes"]
    if settings.training.method == "lora":
        return Range(final, final + rounds * sizes["trained"] * 4)
    # last: the new one is written before the old one goes
    kept = {"all": rounds, "last": min(rounds, 2), "none": 0}[settings.training.keep]
    return Range(final, final + kept * sizes["parameters"] * 4)
