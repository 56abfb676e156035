"""The nouns: frozen, strict records, each carrying its past (`verdict.response.prompt`).

A record is written as one line of JSONL and reads back equal to what was written; so its texts are valid Unicode, whoever
makes it. Nothing here knows of models, files
or networks. Read after `algorithm.py`.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from iteralign.text.characters import Text, valid

Label = Literal["acceptable", "unacceptable", "undetermined"]
Violation = Literal["harmful", "dishonest", "unhelpful"]
Relation = Literal["same", "contradicting", "different", "undetermined"]
"""How two principles stand to each other; `undetermined` where the oracle's reply could not be read."""
Preference = Literal["first", "second", "tie", "undetermined"]
"""Which of two answers is better."""


class Record(BaseModel):
    """Base of all records: immutable, no unknown fields, no silent type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)


@contextmanager
def many() -> Iterator[None]:
    """While many records are made: no record is part of a cycle, and looking for one among them takes as long as making
    them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Turn(Record):
    """One turn of a conversation before the question."""

    role: Literal["human", "assistant"]
    text: Text


class RedTeamPrompt(Record):
    """A question put to the target, in no particular prompt form yet."""

    id: Text
    question: Text
    """The last human turn: what the judge is shown and what decides whether two prompts are the same question."""
    history: tuple[Turn, ...] = ()
    """The conversation before the question, oldest turn first."""
    source: Text = ""
    """The data set that it came from."""
    category: Text | None = None
    """The data set's own category, if it has one."""
    benign: bool = False
    """True for a question that a good model should answer: such prompts measure and prevent over-refusal."""
    form: Text | None = None
    """The prompt form that it is asked in; None: the run's own."""

    parents: tuple[Text, ...] = ()
    """Of a prompt that a run has written: the ids of the failed prompts that it was written from."""
    style: Text | None = None
    """And how: a name of redteam.growth.STYLES."""
    principle: Text | None = None
    """Of a twin, a harmless question that looks like a failed one: id of the principle beside whose failure it stands."""

    @property
    def in_own_form(self) -> "RedTeamPrompt":
        """The same question in the run's own form."""
        return self if self.form is None else self.model_copy(update={"form": None})


class WantedPrompt(Record):
    """What an oracle is to write a red-team question from."""

    style: Text
    how: Text
    """The style in words."""
    parents: tuple[RedTeamPrompt, ...]
    """Prompts that failed, one or two."""


class Draw(Record):
    """A prompt that was chosen for a round by chance."""

    prompt: RedTeamPrompt
    probability: float = Field(gt=0, le=1)
    """Of this prompt at this draw, among those not asked yet."""
    least: float = Field(gt=0, le=1)
    """The smallest that any of those had."""
    unasked: int = Field(gt=0)
    """How many those were, this one included."""
    chance: float | None = None
    """Its estimated chance to fail, with the hope that is added where little is known; None where nobody estimated."""


class Sampling(Record):
    """How the target decodes. Temperature 0 is greedy."""

    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)

    max_new_tokens: int = Field(default=256, gt=0, le=100_000_000)
    """Tokens of an answer at most."""
    temperature: float = Field(default=0.0, ge=0, le=100)
    """0 takes the likeliest token; above, the higher the more freely it samples."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Sample from the likeliest tokens that make up this share of the probability; 1: from all."""
    min_p: float = Field(default=0.1, ge=0, le=1)
    """Sample from the tokens that are at least this many times as likely as the likeliest; 0 from all."""
    frequency_penalty: float = Field(default=0.0, ge=-100, le=100)
    """Taken from the score of a token for each time that the answer has it; 0.5 keeps small models from repetition."""
    stop: tuple[Text, ...] = ()
    """Texts that end an answer."""
    seed: int = 0
    """A sampled answer depends on the weights, the prompt and this record alone, not on the rest of its batch."""


class Generation(Record):
    """What a target returns for one input text."""

    text: Text
    finish: Literal["stop", "length", "prompt_too_long"]
    """`prompt_too_long`: the input and `max_new_tokens` don't fit the context; nothing was generated or cut."""
    prompt_tokens: int = Field(ge=0)
    tokens: int = Field(ge=0)
    """Generated tokens."""


class Response(Record):
    """The target's answer to a prompt."""

    prompt: RedTeamPrompt
    input: Text
    """The exact text that the target continued."""
    text: Text
    """The answer as it is judged and trained on: stripped, without internal thoughts."""
    raw: Text | None = None
    """The text as generated, where it differs from `text` in more than white space."""
    finish: Literal["stop", "length", "prompt_too_long"]
    prompt_tokens: int
    tokens: int


class Verdict(Record):
    """The oracle's judgement of a response. A reply that could not be read gives `undetermined`."""

    response: Response
    label: Label
    violations: tuple[Violation, ...] = ()
    category: Text | None = None
    """Kind of harm, as the judge names it."""
    reason: Text = ""
    judge: Text = ""
    """Which judge said so."""


class Paired(Record):
    """The same prompts answered without and with something in the context."""

    total: int = Field(default=0, ge=0)
    without: int = 0
    """How many counted without it."""
    with_it: int = 0
    gained: int = 0
    """How many counted only with it."""
    lost: int = 0
    """How many counted only without it: `with_it - without == gained - lost`."""


class Trial(Record):
    """How a principle did when it alone stood in the context."""

    own: Paired = Paired()
    """Acceptable answers to prompts of its own evidence."""
    others: Paired = Field(
        default=Paired(), validation_alias=AliasChoices("others", "held_out"), serialization_alias="held_out"
    )
    """Acceptable answers to failures that are not its evidence. Files of a run call it held_out, as earlier versions did."""
    benign: Paired = Paired()
    """Refusals of benign training prompts. Without the principle only those are asked that are refused with it."""
    left: int = Field(default=0, ge=0)
    """Prompts of its sample that were not asked about, since the others decided it."""


class PlaceTrial(Record):
    """How principles did in one place of the prompt, before the first round."""

    place: Text
    failures: Paired
    """Acceptable answers to failures of the base model."""
    benign: Paired
    """Refusals of benign training prompts."""
    chosen: bool = False
    """Whether the run puts them there."""


class Event(Record):
    """Something that happened to a principle."""

    kind: Literal[
        "given",
        "proposed",
        "merged",
        "evidence",
        "compared",
        "contradicting",
        "tried",
        "edited",
        "adopted",
        "rejected",
    ]
    """`merged`: into `other`, and no longer a principle of its own; `evidence`: `other` was merged into this one."""
    round: int | None = None
    """None before the first round and after the last."""
    by: Text = ""
    """Who: proposer, similarity, oracle, gate, or a person's name."""
    reason: Text = ""
    other: Text | None = None
    """Id of the other principle."""


class Principle(Record):
    """One rule of a constitution, with all that happened to it."""

    id: Text
    text: Text
    """The wording in use: what stands in the target's context."""
    round: int
    """The round in which it was proposed; -1 for one that was given at the start."""
    evidence: tuple[Text, ...] = ()
    """Ids of the prompts whose failures gave rise to it."""
    category: Text | None = None
    wording: Literal["positive", "prohibiting"] = "positive"
    """Which wording `text` is: what to do (positive), or what not to do."""
    other_wording: Text = ""
    """The same rule in the other wording, where there is one."""
    status: Literal["proposed", "adopted", "rejected", "merged", "contradicting"] = "proposed"
    """Only an adopted principle is ever put into the target's context, but for its trial."""
    trial: Trial | None = None
    """None where it was not tried."""
    history: tuple[Event, ...] = ()

    def happened(self, event: Event, **changes: object) -> "Principle":
        """The principle with these changes and one more event."""
        texts = {name: valid(value) for name, value in changes.items() if isinstance(value, str)}
        return self.model_copy(update={**changes, **texts, "history": (*self.history, event)})


class Revision(Record):
    """The target's new answer to a failed prompt, given under principles."""

    failure: Verdict
    principles: tuple[Principle, ...]
    attempt: int
    """0 for the first try, 1 for the second ..."""
    response: Response
    verdict: Verdict | None = None
    """The second judgement; None before it."""
    critique: Text | None = None
    """What the target found wrong with its failed answer, in mode `critique`."""
    score: float | None = None
    """Mean log-probability of a token of the answer after the prompt without principles; None where nobody asked."""


class TrainingExample(Record):
    """A prompt without the constitution and the answer to be learnt."""

    prompt: Text
    completion: Text
    kind: Literal["revision", "replay", "benign"]
    """`replay`: a revision of an earlier round again; `benign`: the base model's own answer to a benign prompt."""
    prompt_id: Text
    round: int
    """The round that made the example."""
    principles: tuple[Text, ...] = ()
    """Ids of the principles in whose presence the answer was given."""
    rejected: Text | None = None
    """What the answer is to be preferred to: the failed response. Of benign examples a refusal, with objective dpo only."""
    teacher_prompt: Text | None = None
    """The prompt with these principles, with objective distill only."""


class Checkpoint(Record):
    """The target's weights after a round."""

    kind: Literal["base", "adapter", "full"]
    path: Text
    """`base`: a model directory or hub id. Otherwise a directory, relative to the run directory."""
    round: int | None = None
    """The round that trained it; None for the base model."""
    start: Text | None = None
    """The `path` of the weights that the training began with."""
    examples: int = 0
    steps: int = 0
    """Optimiser steps taken."""
    total_steps: int = 0
    """Since the base model."""
    tokens: int = 0
    """Tokens of the training rows, all epochs together."""
    loss: float | None = None
    """Mean training loss of the round."""
    problem: Text | None = None
    """Why a later round's training was thrown away, so that these weights stayed in use."""
    probe: tuple[float, ...] | None = None
    """How likely these weights find the texts of weights/probe.py, where an engine with weights of its own is to have them."""


class Spent(Record):
    """What an oracle's calls have taken so far, and where they must stop."""

    tokens: int
    cost: float
    """US dollars, of the calls whose price is known."""
    unpriced: int = 0
    """Calls whose price is not."""
    token_budget: int | None = None
    cost_budget: float | None = None


class TextScore(Record):
    """How well the target predicts a text: the capability check."""

    id: Text
    """Of the prompt whose answer the text is, or the paragraph's number."""
    loss: float
    """Mean negative log-likelihood of a token, in nats."""
