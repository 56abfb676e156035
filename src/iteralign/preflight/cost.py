"""What a run's oracle would cost: calls, tokens and dollars by step, from no failure at all to nothing but failures.

Tokens are estimated from the texts themselves, at 5 characters a token for the least and 3 for the most. Repairs and
retries come on top; replies from the cache cost nothing.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iteralign.oracles.prices import Price, PriceTable
from iteralign.settings.oracle import EndpointSettings, GuardSettings
from iteralign.settings.settings import Settings

_LEAST_PER_TOKEN, _MOST_PER_TOKEN = 5, 3
"""Characters."""
_JUDGE_REPLY = (40, 200)
_PROPOSE_REPLY = (60, 250)
"""Tokens for one principle."""
_RELATE_REPLY = (20, 120)
_REASON_REPLY = (20, 120)
_PARTS_REPLY = (15, 60)


@dataclass(frozen=True)
class Range:
    """From no failure at all to every answer failing and every try being used."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,} to {self.most:,}"

    def __add__(self, other: "Range") -> "Range":
        return Range(self.least + other.least, self.most + other.most)

    def __mul__(self, count: int) -> "Range":
        return Range(self.least * count, self.most * count)


@dataclass(frozen=True)
class Money:
    """US dollars."""

    least: float
    most: float

    def __str__(self) -> str:
        least, most = _dollars(self.least), _dollars(self.most)
        return least if least == most else f"{least} to {most}"


@dataclass(frozen=True)
class StepCost:
    """One kind of call, over the whole run."""

    step: str
    calls: Range
    prompt_tokens: Range
    completion_tokens: Range
    cost: Money | None
    """None where the price of a model is unknown at its endpoint; never zero for that."""


@dataclass(frozen=True)
class Budget:
    """A budget of the settings beside the estimate."""

    setting: str
    value: float
    reached: Literal["no", "maybe", "surely"] | None
    """None where it can't be told, since a price is unknown."""


@dataclass(frozen=True)
class Answers:
    """Answers to be judged, by what they are for."""

    looped: Range
    """To the rounds' prompts and the benign ones."""
    measured: Range
    revised: Range
    tried: Range

    def total(self) -> Range:
        return self.looped + self.measured + self.revised + self.tried


@dataclass(frozen=True)
class _Asked:
    """One request to one kind of model, as text and reply."""

    head: int
    """Characters that all such requests share."""
    material: tuple[int, int]
    """Characters that differ, least and most."""
    reply: tuple[int, int]
    """Tokens, least and most."""


def step_costs(settings: Settings, answers: Answers, rounds: int, question: int, prices: PriceTable) -> list[StepCost]:
    """By step, in the order of a round; nothing for the rules. `question` is a prompt's mean length in characters."""
    oracle = settings.oracle
    if oracle.kind == "rules" and not oracle.guards:
        return []
    answer = settings.sampling.max_new_tokens * 4
    verdict = _verdict(settings, question, answer)
    judging = {
        "judge": _with_waste(settings, answers.looped),
        "measurement": answers.measured,
        "gate trials": answers.tried,
        "verify": answers.revised,
    }
    steps = [_summed(step, count, verdict, _judges(settings), prices) for step, count in judging.items()]
    proposer = oracle.proposer or oracle.judge
    if proposer is not None and oracle.kind == "openai" and settings.constitution.propose:
        groups, pairs = _proposals(settings, rounds)
        proposing, relating = _proposal(settings, question, answer), _relation(settings)
        failures = Range(0, rounds * settings.rounds.prompts)
        if oracle.proposals == "parts":
            steps.append(_summed("propose", failures, _parts(settings, question), [(proposer, 1)], prices))
        else:
            if oracle.judge is not None and oracle.judge.method == "probability":
                reason = _reason(settings, question, answer)
                steps.append(_summed("reason", failures, reason, [(oracle.judge, 1)], prices))
            steps.append(_summed("propose", groups, proposing, [(proposer, 1)], prices))
            steps.append(_summed("relate", pairs, relating, [(proposer, 1)], prices))
        if grow := settings.redteam.grow:
            steps.append(_summed("grow", Range(0, rounds * (1 + grow)), proposing, [(proposer, 1)], prices))
        if twins := most_twins(settings, rounds):
            requests = twins + twins // settings.constitution.twins
            steps.append(_summed("twins", Range(0, requests), proposing, [(proposer, 1)], prices))
    return [step for step in steps if step.calls.most]


def most_twins(settings: Settings, rounds: int) -> int:
    """Harmless questions that are written beside failures, where every proposal is adopted."""
    groups = rounds if settings.oracle.kind == "rules" else _proposals(settings, rounds)[0].most
    return groups * settings.oracle.max_principles * settings.constitution.twins


def total_cost(steps: Sequence[StepCost]) -> Money | None:
    """None as soon as one step's price is unknown."""
    costs = [step.cost for step in steps if step.cost is not None]
    if len(costs) < len(steps):
        return None
    return Money(sum(cost.least for cost in costs), sum(cost.most for cost in costs))


def budgets(settings: Settings, tokens: Range, cost: Money | None) -> list[Budget]:
    """The budgets that are set, held against the estimate."""
    oracle, found = settings.oracle, []
    if oracle.token_budget is not None:
        found.append(Budget("oracle.token_budget", oracle.token_budget, _reached(oracle.token_budget, tokens)))
    if oracle.cost_budget is not None:
        found.append(
            Budget(
                "oracle.cost_budget", oracle.cost_budget, None if cost is None else _reached(oracle.cost_budget, cost)
            )
        )
    return found


def _reached(budget: float, needed: Range | Money) -> Literal["no", "maybe", "surely"]:
    return "surely" if needed.least > budget else "maybe" if needed.most > budget else "no"


def _judges(settings: Settings) -> list[tuple[EndpointSettings | GuardSettings, int]]:
    """Who is asked about each answer over a network, and how often."""
    oracle = settings.oracle
    served: list[tuple[EndpointSettings | GuardSettings, int]] = [
        (guard, 1) for guard in oracle.guards if guard.base_url is not None
    ]
    asks_judge = oracle.kind == "openai" and (not oracle.guards or oracle.guards_and_judge)
    endpoints = (oracle.judge, *oracle.panel) if asks_judge else ()
    return [*served, *((endpoint, oracle.votes) for endpoint in endpoints if endpoint is not None)]


def _with_waste(settings: Settings, answers: Range) -> Range:
    """Verdicts on answers given ahead may be in vain."""
    ahead = settings.lookahead
    share = ahead.wasted_verdicts if ahead.rounds > 1 else 0.0
    return Range(answers.least, math.ceil(answers.most / (1 - share)))


def _proposals(settings: Settings, rounds: int) -> tuple[Range, Range]:
    """(requests for principles, pairs of principles to compare)."""
    chosen = settings.constitution
    groups = rounds * max(1, math.ceil(settings.rounds.prompts / 2))  # failures of one kind go together
    pairs = groups * settings.oracle.max_principles * chosen.neighbours if chosen.doubles else 0
    return Range(0, groups), Range(0, pairs)


def _verdict(settings: Settings, question: int, answer: int) -> _Asked:
    from iteralign.oracles.llm import judge_template
    from iteralign.oracles.probability import askings
    from iteralign.oracles.reading import JUDGE_SCHEMA

    judge = settings.oracle.judge
    if judge is not None and judge.method == "probability":
        longest = max(len(asking.text.text) for asking in askings(settings.oracle.texts).values())
        return _Asked(longest, (question, question + answer + 200), (1, 1))
    text = judge_template(settings.oracle.texts).text
    return _Asked(len(text), (question, question + answer + 200 + _length(JUDGE_SCHEMA)), _JUDGE_REPLY)


def _proposal(settings: Settings, question: int, answer: int) -> _Asked:
    """With one failure at least, with as many as a request may contain, and as many adopted principles, at most."""
    from iteralign.oracles.proposer import propose_template
    from iteralign.oracles.reading import PROPOSE_SCHEMA

    oracle = settings.oracle
    text = propose_template(oracle.texts).text
    failures = min(oracle.max_characters, settings.rounds.prompts * (question + answer + 200))
    most = failures + oracle.max_characters + _length(PROPOSE_SCHEMA)
    return _Asked(len(text), (question, most), (_PROPOSE_REPLY[0], _PROPOSE_REPLY[1] * oracle.max_principles))


def _parts(settings: Settings, question: int) -> _Asked:
    from iteralign.oracles.parts import parts_template
    from iteralign.oracles.reading import PARTS_SCHEMA

    text = parts_template(settings.oracle.texts).text
    return _Asked(len(text), (question, question + 100 + _length(PARTS_SCHEMA)), _PARTS_REPLY)


def _reason(settings: Settings, question: int, answer: int) -> _Asked:
    from iteralign.oracles.probability import reason_template
    from iteralign.oracles.reading import REASON_SCHEMA

    text = reason_template(settings.oracle.texts).text
    return _Asked(len(text), (question, question + answer + 200 + _length(REASON_SCHEMA)), _REASON_REPLY)


def _relation(settings: Settings) -> _Asked:
    from iteralign.oracles.proposer import relate_template
    from iteralign.oracles.reading import RELATE_SCHEMA

    text = relate_template(settings.oracle.texts).text
    return _Asked(len(text), (80, 800 + _length(RELATE_SCHEMA)), _RELATE_REPLY)


def _length(schema: Any) -> int:
    return len(json.dumps(schema))


def _summed(
    step: str,
    count: Range,
    asked: _Asked,
    models: Sequence[tuple[EndpointSettings | GuardSettings, int]],
    prices: PriceTable,
) -> StepCost:
    """Over all models that are asked in this step, each so many times."""
    read = Range(
        (asked.head + asked.material[0]) // _LEAST_PER_TOKEN,
        math.ceil((asked.head + asked.material[1]) / _MOST_PER_TOKEN),
    )
    calls, prompt, completion = Range(0, 0), Range(0, 0), Range(0, 0)
    costs: list[Money | None] = []
    for model, times in models:
        some, reply = count * times, _reply(asked.reply, model)
        calls += some
        prompt += Range(some.least * read.least, some.most * read.most)
        completion += Range(some.least * reply.least, some.most * reply.most)
        costs.append(_money(_price(model, prices), some, read, reply, asked.head // _LEAST_PER_TOKEN))
    known = [cost for cost in costs if cost is not None]
    money = Money(sum(cost.least for cost in known), sum(cost.most for cost in known))
    return StepCost(step, calls, prompt, completion, money if len(known) == len(costs) else None)


def _reply(usual: tuple[int, int], model: EndpointSettings | GuardSettings) -> Range:
    """A model that is told to think may use all that a reply may have."""
    if isinstance(model, GuardSettings):
        return Range(1, usual[1])
    thinks = model.reasoning_effort not in (None, "none")
    return Range(min(usual[0], model.max_tokens), model.max_tokens if thinks else min(usual[1], model.max_tokens))


def _price(model: EndpointSettings | GuardSettings, prices: PriceTable) -> Price | None:
    from iteralign.endpoints.keys import OPENAI_URL

    return prices.of(model.base_url or OPENAI_URL, model.model)


def _money(price: Price | None, calls: Range, read: Range, reply: Range, head: int) -> Money | None:
    """At the least the endpoint has read the shared head before, in all calls but the first."""
    if price is None:
        return None
    first = price.cost(read.least, reply.least) if calls.least else 0.0
    others = max(calls.least - 1, 0) * price.cost(read.least, reply.least, min(head, read.least))
    return Money(first + others, calls.most * price.cost(read.most, reply.most))


def _dollars(amount: float) -> str:
    """Two digits that count."""
    if amount >= 10 or amount == 0:
        return f"${amount:,.0f}"
    return f"${amount:.2f}" if amount >= 0.1 else f"${amount:.1g}" if amount < 0.001 else f"${amount:.3f}"
