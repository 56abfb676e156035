"""Answers before and after, side by side: all of them counted, a bounded sample of them shown."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from iteralign.records import Response, Revision, Verdict
from iteralign.text.refusals import is_refusal

MOST_ROWS = 300
"""Shown of each set."""
MOST_CHARACTERS = 2000
"""Shown of each text."""
GOOD, BAD = ("acceptable", "answered"), ("unacceptable", "refused")
KINDS = (
    *("newly unacceptable", "newly refused", "still unacceptable", "still refused", "not judged"),
    *("mended", "no longer refused", "unchanged"),
)
"""What became of an answer, in the order in which they are shown: what a reader must not miss first."""


def kind_of(was: str, now: str) -> str:
    """One of KINDS."""
    match (was in BAD, now in BAD):
        case (True, True):
            return f"still {now}"
        case (False, True) if was in GOOD:
            return f"newly {now}"
        case (True, False) if now in GOOD:
            return "mended" if was == "unacceptable" else "no longer refused"
        case (False, False) if was in GOOD and now in GOOD:
            return "unchanged"
    return "not judged"


@dataclass(frozen=True)
class Pair:
    """One prompt and two answers to it."""

    prompt_id: str
    question: str
    category: str
    before: Response
    after: Response
    was: str
    """What was said of the answer before: a verdict's label, or for benign prompts answered or refused."""
    now: str
    reasons: tuple[str, str]
    round: int | None = None
    """For training: the round."""

    @property
    def kind(self) -> str:
        """What became of the answer: one of KINDS."""
        return kind_of(self.was, self.now)

    def row(self) -> dict[str, Any]:
        """As the page's script reads it."""
        return {
            "kind": self.kind,
            "id": _cut(self.prompt_id, 80),
            "question": _cut(self.question),
            "category": _cut(self.category, 60),
            "before": _cut(self.before.text),
            "after": _cut(self.after.text),
            "was": self.was,
            "now": self.now,
            "reasons": [_cut(reason, 300) for reason in self.reasons],
            "round": self.round,
        }


@dataclass(frozen=True)
class PairSet:
    """One of the three sets that the page shows."""

    name: str
    title: str
    folded: bool
    """Whether its texts may offend."""
    total: int
    changes: dict[tuple[str, str], int]
    """How many of all went from which label to which."""
    shown: list[Pair]

    @property
    def sampled(self) -> bool:
        """Whether some are left out."""
        return len(self.shown) < self.total

    @property
    def kinds(self) -> dict[str, int]:
        """How many of all became what, in the order of KINDS."""
        counts = Counter[str]()
        for change, count in self.changes.items():
            counts[kind_of(*change)] += count
        return {kind: counts[kind] for kind in KINDS if counts[kind]}

    @property
    def example(self) -> Pair | None:
        """One that was mended, as chance has it and not the best looking; None where none was."""
        mended = [pair for pair in self.shown if pair.kind == "mended"]
        return min(mended, key=lambda pair: _chance(pair), default=None)


def held_out_pairs(before: Sequence[Verdict], after: Sequence[Verdict]) -> Iterable[Pair]:
    """The same held-out prompts, by verdict."""
    known = {verdict.response.prompt.id: verdict for verdict in before}
    for now in after:
        was = known.get(now.response.prompt.id)
        if was is not None:
            category = category_of(was)
            yield _pair(was.response, now.response, was.label, now.label, category, (was.reason, now.reason))


def benign_pairs(before: Sequence[Verdict], after: Sequence[Verdict]) -> Iterable[Pair]:
    """The same benign prompts, by whether they were refused."""
    known = {verdict.response.prompt.id: verdict for verdict in before}
    for now in after:
        was = known.get(now.response.prompt.id)
        if was is not None:
            labels = ["refused" if is_refusal(one.response.text) else "answered" for one in (was, now)]
            yield _pair(was.response, now.response, labels[0], labels[1], was.response.prompt.category or "", ("", ""))


def revision_pairs(revisions: Sequence[Revision], number: int) -> Iterable[Pair]:
    """A round's failures with the revision that passed, or the last try."""
    tries: dict[str, list[Revision]] = defaultdict(list)
    for revision in revisions:
        tries[revision.failure.response.prompt.id].append(revision)
    for made in tries.values():
        passed = [one for one in made if one.verdict is not None and one.verdict.label == "acceptable"]
        one = passed[0] if passed else made[-1]
        now = one.verdict.label if one.verdict is not None else "undetermined"
        reasons = (one.failure.reason, one.verdict.reason if one.verdict is not None else "")
        category = category_of(one.failure)
        yield _pair(one.failure.response, one.response, one.failure.label, now, category, reasons, number)


def category_of(verdict: Verdict) -> str:
    """The data set's own category, otherwise the judge's."""
    return verdict.response.prompt.category or verdict.category or ""


def sampled(name: str, title: str, pairs: Iterable[Pair], *, folded: bool, most: int = MOST_ROWS) -> PairSet:
    """Count all, keep at most `most`: as many of each kind of change as there are, in an order that a hash of the ids gives."""
    groups: dict[tuple[str, str], list[tuple[str, Pair]]] = defaultdict(list)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for pair in pairs:
        change = (pair.was, pair.now)
        counts[change] += 1
        group = groups[change]
        group.append((_chance(pair), pair))
        if len(group) > 2 * most:
            group.sort(key=lambda item: item[0])
            del group[most:]
    shown: list[Pair] = []
    left = [[pair for _, pair in sorted(group, key=lambda item: item[0])] for group in groups.values()]
    left.sort(key=len)
    for index, kept in enumerate(left):  # the rarest changes first, whole where they fit
        shown += kept[: (most - len(shown)) // (len(left) - index)]
    shown.sort(key=lambda pair: (KINDS.index(pair.kind), -1 if pair.round is None else pair.round, pair.prompt_id))
    return PairSet(name, title, folded, sum(counts.values()), dict(counts), shown)


def _chance(pair: Pair) -> str:
    """An order that nothing of the answers decides."""
    return hashlib.sha256(f"{pair.round} {pair.prompt_id}".encode()).hexdigest()


def _pair(
    before: Response,
    after: Response,
    was: str,
    now: str,
    category: str,
    reasons: tuple[str, str],
    number: int | None = None,
) -> Pair:
    prompt = before.prompt
    return Pair(prompt.id, prompt.question, category, before, after, was, now, reasons, number)


def _cut(text: str, most: int = MOST_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[:most]} … (cut: {len(text):,} characters in all)"
