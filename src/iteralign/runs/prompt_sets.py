"""The four prompt sets of a run: to red-team with, to replay, and two to measure on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iteralign.data import Questions, prepare
from iteralign.data.given import GIVEN
from iteralign.data.sample import prompt_kind, stratified
from iteralign.data.split import without_questions_of
from iteralign.errors import DataError
from iteralign.layout import begun_with
from iteralign.records import RedTeamPrompt, many
from iteralign.settings.settings import Settings, load_settings


@dataclass(frozen=True)
class Given:
    """Questions handed over in Python, each in the place of what the settings name. Raises DataError for a bare string."""

    prompts: Questions | None = None
    held_out: Questions | None = None
    """Replaces the share of the prompts that data.held_out would keep out of the loop."""
    benign: Questions | None = None

    def __post_init__(self) -> None:
        for name, questions in vars(self).items():
            if isinstance(questions, str):
                raise DataError(
                    f"{name} is a string; give a list of questions, or name a file or data set in the settings."
                )

    def __bool__(self) -> bool:
        return any(questions is not None for questions in vars(self).values())

    def named_in(self, settings: Settings | Mapping[str, Any]) -> Settings:
        """The settings, with `given` in the place of each source that questions were handed over for."""
        values = settings.model_dump(mode="json") if isinstance(settings, Settings) else dict(settings)
        named = {name: GIVEN for name in ("prompts", "benign") if getattr(self, name) is not None}
        return load_settings(values | {"data": {**(values.get("data") or {}), **named}} if named else values)


@dataclass(frozen=True)
class PromptSets:
    """The four prompt sets of a run, no question in two of them."""

    prompts: list[RedTeamPrompt]
    held_out: list[RedTeamPrompt]
    benign: list[RedTeamPrompt]
    benign_held_out: list[RedTeamPrompt]
    notes: list[str]
    """What to tell the user of how they came about."""

    def named(self) -> dict[str, list[RedTeamPrompt]]:
        """The sets by the names of their files in the run directory."""
        return {name: value for name, value in vars(self).items() if name != "notes"}

    def differing(self, begun: Mapping[str, Sequence[RedTeamPrompt]]) -> str:
        """How these sets differ from those that a run began with, in words; empty where they don't."""
        names = [name for name, prompts in self.named().items() if prompts != begun[name]]
        counts = [f"{begun_with(name)}: {len(begun[name])} there, {len(self.named()[name])} given" for name in names]
        known = {prompt.question for prompts in begun.values() for prompt in prompts}
        new = [prompt.question for name in names for prompt in self.named()[name] if prompt.question not in known]
        return ", ".join([*counts, *(f"not there: {question[:80]!r}" for question in new[:1])])


@many()
def build_prompts(settings: Settings, given: Given | None = None) -> PromptSets:
    """Load, de-duplicate and split both prompt sets. Raises DataError when nothing is left to red-team with."""
    given = given or Given()
    prompts, held_out, notes = _red_team_prompts(settings, given)
    if not prompts:
        raise DataError(f"{settings.data.prompts}: no prompt is left to red-team with; lower data.held_out.")
    benign, benign_held_out = (
        _with_ids_apart(some, [*prompts, *held_out], "benign") for some in _benign_prompts(settings, given)
    )
    before = len(prompts) + len(benign) + len(benign_held_out)
    benign_held_out = without_questions_of(benign_held_out, held_out)
    clean = without_questions_of(prompts, benign_held_out)
    benign = without_questions_of(benign, [*clean, *held_out, *benign_held_out])
    if left_out := before - len(clean) - len(benign) - len(benign_held_out):
        notes.append(f"{left_out} prompts left out, since a question of another set is asked in them")
    if not clean:
        raise DataError(
            f"{settings.data.prompts}: every question is also among the benign ones held out; use other benign ones."
        )
    measured = stratified(held_out, settings.data.held_out_limit, prompt_kind, settings.seed)
    return PromptSets(clean, measured, benign, benign_held_out, notes)


def _red_team_prompts(settings: Settings, given: Given) -> tuple[list[RedTeamPrompt], list[RedTeamPrompt], list[str]]:
    """(prompts, held out, notes)."""
    data, seed = settings.data, settings.seed
    share = 0.0 if given.held_out is not None else data.held_out
    if data.prompts == "demo" and given.prompts is None:
        prompts, held_out, notes = *_demo_prompts(data.limit or 300, share, seed), ["prompts: the demo's own"]
    else:
        read = prepare(
            _handed_over(given.prompts, data.prompts, "prompts"),
            data.path,
            held_out_share=share or None,
            question_field=data.question_field,
            turns=data.turns,
            limit=data.limit,
            seed=seed,
            shuffle=data.shuffle,
        )
        prompts, held_out = list(read.prompts), list(read.held_out)
        notes = [f"{read.source}: " + ", ".join(f"{count} {name}" for name, count in read.counts().items() if count)]
    if given.held_out is None:
        return prompts, held_out, notes
    measured = prepare(given.held_out, question_field=data.question_field, turns=data.turns).prompts
    held_out = _with_ids_apart(list(measured), prompts, "held-out")
    clean = without_questions_of(prompts, held_out)
    if len(clean) < len(prompts):
        notes.append(f"{len(prompts) - len(clean)} prompts left out, since they are among the held-out ones given")
    return clean, held_out, notes


def _handed_over(questions: Questions | None, named: str, setting: str) -> str | Questions:
    """The questions, or the source that the settings name."""
    if questions is None and named == GIVEN:
        raise DataError(
            f"data.{setting} is `{GIVEN}`: these questions were handed over in Python. Hand them over again: "
            f"iteralign.run(settings, {setting}=[...]); a run that has begun is gone on with by `iteralign resume`."
        )
    return named if questions is None else questions


def _benign_prompts(settings: Settings, given: Given) -> tuple[list[RedTeamPrompt], list[RedTeamPrompt]]:
    data, seed = settings.data, settings.seed
    if data.benign is None and given.benign is None:
        return [], []
    if data.benign == "demo" and given.benign is None:
        from iteralign.demo.grammar import benign_questions

        held = round(data.benign_limit * data.benign_held_out)
        train, held_out = benign_questions(data.benign_limit - held, seed), benign_questions(held, seed, "held_out")
        return _as_prompts(train, "benign-train", True), _as_prompts(held_out, "benign-held-out", True)
    read = prepare(
        _handed_over(given.benign, data.benign or GIVEN, "benign"),
        data.benign_path,
        held_out_share=data.benign_held_out or None,
        limit=data.benign_limit,
        seed=seed,
        shuffle=True,
        benign=True,
    )
    return list(read.prompts), list(read.held_out)


def _with_ids_apart(prompts: list[RedTeamPrompt], others: list[RedTeamPrompt], prefix: str) -> list[RedTeamPrompt]:
    """Two files may both count from 1: where an id is taken, the prompt gets another."""
    if not prompts:
        return []
    theirs = {prompt.id for prompt in others}
    taken = theirs | {prompt.id for prompt in prompts}
    fresh = []
    for prompt in prompts:
        identity = prompt.id
        if identity in theirs:
            while identity in taken:
                identity = f"{prefix}-{identity}"
            taken.add(identity)
        fresh.append(prompt if identity == prompt.id else prompt.model_copy(update={"id": identity}))
    return fresh


def _demo_prompts(count: int, share: float, seed: int) -> tuple[list[RedTeamPrompt], list[RedTeamPrompt]]:
    from iteralign.demo.grammar import red_team_questions

    held = round(count * share)
    train, held_out = red_team_questions(count - held, seed), red_team_questions(held, seed, "held_out")
    return _as_prompts(train, "demo-train", False), _as_prompts(held_out, "demo-held-out", False)


def _as_prompts(questions: list[str], name: str, benign: bool) -> list[RedTeamPrompt]:
    return [
        RedTeamPrompt(id=f"{name}-{index:04d}", question=question, source="demo", benign=benign)
        for index, question in enumerate(questions)
    ]
