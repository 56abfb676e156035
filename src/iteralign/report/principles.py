"""The constitution as a tree: category, principle, the failures that gave rise to it, and what is known of its effect."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from iteralign.records import Revision, TrainingExample, Verdict
from iteralign.report.answers import category_of
from iteralign.stats.intervals import Proportion

MOST_PRINCIPLES = 300
MOST_FAILURES = 5
"""Shown of each principle."""
MOST_CHARACTERS = 600


@dataclass(frozen=True)
class Failure:
    """A question and the answer that gave rise to a principle."""

    prompt_id: str
    question: str
    answer: str


@dataclass(frozen=True)
class Branch:
    """A principle of the tree."""

    id: str
    text: str
    round: int
    status: str
    failures: list[Failure]
    evidence: int
    """Failures that gave rise to it, in all."""
    effect: list[str]
    """What was measured, a sentence each."""


@dataclass(frozen=True)
class Tree:
    """By category, the one with the most evidence first."""

    categories: list[tuple[str, list[Branch]]]
    total: int
    adopted: int
    shown: int


@dataclass
class Rounds:
    """What the rounds tell of principles; `add` each round in order."""

    failures: dict[str, Failure] = field(default_factory=dict)
    """By prompt id."""
    tried: Counter[str] = field(default_factory=Counter)
    """Tries with the principle in the context, by principle id."""
    passed: Counter[str] = field(default_factory=Counter)
    examples: Counter[str] = field(default_factory=Counter)
    failed: list[Counter[str]] = field(default_factory=list)
    """By round: failures by category."""
    judged: list[int] = field(default_factory=list)
    first_trained: dict[str, int] = field(default_factory=dict)
    """By principle id: the place in `judged` of the first round that trained on it."""

    def add(
        self,
        verdicts: Sequence[Verdict],
        revisions: Sequence[Revision],
        examples: Sequence[TrainingExample],
        trained: bool,
    ) -> None:
        """One round."""
        bad = [verdict for verdict in verdicts if verdict.label == "unacceptable"]
        for verdict in bad:
            response = verdict.response
            self.failures[response.prompt.id] = Failure(
                response.prompt.id, response.prompt.question[:MOST_CHARACTERS], response.text[:MOST_CHARACTERS]
            )
        self.failed.append(Counter(category_of(verdict) for verdict in bad))
        self.judged.append(sum(verdict.label != "undetermined" for verdict in verdicts))
        for revision in revisions:
            ids = {principle.id for principle in revision.principles}
            self.tried.update(ids)
            if revision.verdict is not None and revision.verdict.label == "acceptable":
                self.passed.update(ids)
        for row in examples if trained else ():
            if row.kind == "revision":
                self.examples.update(row.principles)
                for one in row.principles:
                    self.first_trained.setdefault(one, len(self.judged) - 1)


def tree(entries: Sequence[dict[str, Any]], rounds: Rounds) -> Tree:
    """Of constitution.yaml's entries; principles with the most evidence are kept where there are too many."""
    kept = sorted(entries, key=lambda entry: -len(entry.get("evidence") or ()))[:MOST_PRINCIPLES]
    ids = {entry["id"] for entry in kept}
    groups: dict[str, list[Branch]] = defaultdict(list)
    for entry in entries:
        if entry["id"] in ids:
            groups[str(entry.get("category") or "no category")].append(_branch(entry, rounds))
    ordered = sorted(groups.items(), key=lambda item: -sum(branch.evidence for branch in item[1]))
    adopted = sum(str(entry.get("status") or "adopted") == "adopted" for entry in entries)
    return Tree(ordered, len(entries), adopted, len(kept))


def _branch(entry: dict[str, Any], rounds: Rounds) -> Branch:
    evidence = [str(one) for one in entry.get("evidence") or ()]
    known = [rounds.failures[one] for one in evidence if one in rounds.failures]
    return Branch(
        id=str(entry["id"]),
        text=str(entry.get("text", "")),
        round=int(entry.get("round", -1)),
        status=str(entry.get("status") or "adopted"),
        failures=known[:MOST_FAILURES],
        evidence=len(evidence),
        effect=list(_effect(entry, rounds)),
    )


def _effect(entry: dict[str, Any], rounds: Rounds) -> list[str]:
    one = str(entry["id"])
    said = [*_why(entry), *_trial(entry.get("trial") or {})]
    if rounds.tried[one]:
        said.append(
            f"In the context of {rounds.tried[one]:,} tries at answering a failure again, of which "
            f"{Proportion(rounds.passed[one], rounds.tried[one])} passed the second judgement."
        )
    if rounds.examples[one]:
        said.append(f"Behind {rounds.examples[one]:,} answers that were trained on.")
    if one in rounds.first_trained:
        first, category = rounds.first_trained[one] + 1, str(entry.get("category") or "")
        before = Proportion(sum(part[category] for part in rounds.failed[:first]), sum(rounds.judged[:first]))
        after = Proportion(sum(part[category] for part in rounds.failed[first:]), sum(rounds.judged[first:]))
        said.append(
            f"Failures of its category, of all prompts of a round: {before} up to the first training on it, {after} after. "
            "Rounds have different prompts, and all principles act at once."
        )
    return said or ["Nothing was trained on it, so there is no effect to show."]


def _why(entry: dict[str, Any]) -> list[str]:
    """Why a principle was not adopted, as its history has it."""
    history = entry.get("history") or []
    if entry.get("status", "adopted") == "adopted" or not history:
        return []
    last = history[-1]
    into = f" into {last['other']}" if last.get("other") and entry["status"] == "merged" else ""
    by, reason = last.get("by"), last.get("reason")
    return [f"{str(entry['status']).capitalize()}{into}{f' by {by}' if by else ''}{f': {reason}' if reason else ''}."]


def _trial(trial: dict[str, Any]) -> list[str]:
    """The gate's trial of the principle alone, where there was one."""
    names = {
        "own": "Alone in the context, acceptable answers to the prompts of its evidence",
        "held_out": "Acceptable answers to other failures",
        "benign": "Refusals of benign training prompts",
    }
    tried = [(name, trial[key]) for key, name in names.items() if (trial.get(key) or {}).get("total")]
    return [
        f"{name}: {Proportion(part['without'], part['total'])} without it, "
        f"{Proportion(part['with_it'], part['total'])} with it."
        for name, part in tried
    ]
