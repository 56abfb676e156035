"""The four prompt sets of a run: to red-team with, to replay, and two to measure on."""

from dataclasses import dataclass

from iteralign.config import Settings
from iteralign.data import prepare
from iteralign.data.split import without_questions_of
from iteralign.errors import DataError
from iteralign.records import RedTeamPrompt


@dataclass(frozen=True)
class PromptSets:
    """The four prompt sets of a run, no question in two of them."""

    prompts: list[RedTeamPrompt]
    held_out: list[RedTeamPrompt]
    benign: list[RedTeamPrompt]
    benign_held_out: list[RedTeamPrompt]
    notes: list[str]
    """What to tell the user of how they came about."""


def build_prompts(settings: Settings) -> PromptSets:
    """Load, de-duplicate and split both prompt sets. Raises DataError when nothing is left to red-team with."""
    data, seed = settings.data, settings.seed
    if data.prompts == "demo":
        prompts, held_out, notes = *_demo_prompts(data.limit or 300, data.held_out, seed), ["prompts: the demo's own"]
    else:
        read = prepare(
            data.prompts,
            data.path,
            held_out_share=data.held_out or None,
            question_field=data.question_field,
            turns=data.turns,
            limit=data.limit,
            seed=seed,
            shuffle=data.shuffle,
        )
        prompts, held_out = list(read.prompts), list(read.held_out)
        notes = [f"{read.source}: " + ", ".join(f"{count} {name}" for name, count in read.counts().items() if count)]
    if not prompts:
        raise DataError(f"{data.prompts}: no prompt is left to red-team with; lower data.held_out.")
    benign, benign_held_out = (_with_ids_apart(some, [*prompts, *held_out]) for some in _benign_prompts(settings))
    given = len(prompts) + len(benign) + len(benign_held_out)
    benign_held_out = without_questions_of(benign_held_out, held_out)
    clean = without_questions_of(prompts, benign_held_out)
    benign = without_questions_of(benign, [*clean, *held_out, *benign_held_out])
    if left_out := given - len(clean) - len(benign) - len(benign_held_out):
        notes.append(f"{left_out} prompts left out, since a question of another set is asked in them")
    if not clean:
        raise DataError(
            f"{data.prompts}: every question is also among the benign ones held out; use other benign ones."
        )
    return PromptSets(clean, held_out[: data.held_out_limit], benign, benign_held_out, notes)


def _benign_prompts(settings: Settings) -> tuple[list[RedTeamPrompt], list[RedTeamPrompt]]:
    data, seed = settings.data, settings.seed
    if data.benign is None:
        return [], []
    if data.benign == "demo":
        from iteralign.demo.grammar import benign_questions

        held = round(data.benign_limit * data.benign_held_out)
        train, held_out = benign_questions(data.benign_limit - held, seed), benign_questions(held, seed, "held_out")
        return _as_prompts(train, "benign-train", True), _as_prompts(held_out, "benign-held-out", True)
    read = prepare(
        data.benign,
        data.benign_path,
        held_out_share=data.benign_held_out or None,
        limit=data.benign_limit,
        seed=seed,
        shuffle=True,
        benign=True,
    )
    return list(read.prompts), list(read.held_out)


def _with_ids_apart(prompts: list[RedTeamPrompt], others: list[RedTeamPrompt]) -> list[RedTeamPrompt]:
    """Two files may both count from 1: where an id is taken, the benign prompt gets another."""
    theirs = {prompt.id for prompt in others}
    taken = theirs | {prompt.id for prompt in prompts}
    fresh = []
    for prompt in prompts:
        identity = prompt.id
        if identity in theirs:
            while identity in taken:
                identity = f"benign-{identity}"
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
