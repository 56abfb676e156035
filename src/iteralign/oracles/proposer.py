"""A language model as the author of principles: it proposes them, and says how two of them stand to each other."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from iteralign.errors import OracleReplyError
from iteralign.oracles import reading
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.grouping import groups
from iteralign.oracles.reading import Faulty, Fence, Proposal
from iteralign.prompts import OwnTexts, Template, load_template
from iteralign.prompts.fitness import contradict, why_empty
from iteralign.records import Event, Principle, Relation, Verdict
from iteralign.settings.oracle import OracleSettings
from iteralign.text.similarity import by_words, taken_from

log = logging.getLogger(__name__)

T = TypeVar("T")

PROPOSE_FIELDS = frozenset({"failures", "adopted", "max_principles"})

_LONGEST_CATEGORY = 60
_CONTRASTS = 3
_REPEATED = 0.7
"""Of a principle's three-word sequences; a small model's own rules had up to 0.48, its copies of the example 0.92."""
_STEM = 5
_FAULTS_TOLD = 3
_MOST_RECORDED = 40
"""Principles of one reply that are kept on record at most, whatever becomes of them."""


class Ask(Protocol):
    """Puts requests to the model: what `read` makes of each reply, or a text that says why there is nothing."""

    def __call__(
        self, requests: Sequence[ChatRequest], step: str, repair: Template, read: Callable[[str], Any]
    ) -> list[Any]: ...


def propose_template(texts: OwnTexts = None) -> Template:
    """The text that proposes, with {failures}, {adopted} and {max_principles}."""
    return load_template("propose", PROPOSE_FIELDS, texts)


def relate_template(texts: OwnTexts = None) -> Template:
    """The text that compares two principles, with {first} and {second}."""
    return load_template("relate", {"first", "second"}, texts)


class Proposer:
    """Does `Oracle.propose` and `Oracle.relate` over `ask`."""

    def __init__(
        self,
        ask: Ask,
        name: str,
        settings: OracleSettings,
        tokens: int,
    ) -> None:
        """`tokens`: of a reply at most."""
        self.ask = ask
        self.name = name
        self.text = propose_template(settings.texts)
        self.repair = load_template("propose_repair", {"problem"}, settings.texts)
        self.relate_text = relate_template(settings.texts)
        self.relate_repair = load_template("relate_repair", {"problem"}, settings.texts)
        self.max_principles = settings.max_principles
        self.max_characters = settings.max_characters
        self.tokens = tokens

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """What each group of failures led to. Raises OracleReplyError where no group's reply could be read.

        A reply with a faulty principle is asked for once more. One that stays faulty, names no failure, or is beyond
        `max_principles` of its reply, comes with status `rejected`.
        """
        chunks = list(groups(failures, self._length, self.max_characters))
        requests = [self._request(chunk, adopted, contrast) for chunk in chunks]
        read = self.ask(requests, "propose", self.repair, read_usable)
        problems = [proposals for proposals in read if isinstance(proposals, str)]
        if chunks and len(problems) == len(chunks):
            raise OracleReplyError(
                f"The proposer {self.name} gave no readable principles for {len(failures)} failures: "
                f"{problems[0]}. Try a model that follows instructions better, or another proposer text."
            )
        for problem in problems:
            log.warning("No principles from one of %d groups of failures: %s.", len(chunks), problem)
        return [
            principle
            for chunk, proposals in zip(chunks, read, strict=True)
            if not isinstance(proposals, str)
            for principle in self._principles(proposals, chunk)
        ]

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """One relation per pair; `undetermined` where the reply could not be read."""
        read = self.ask(
            [self._relate_request(*pair) for pair in pairs], "relate", self.relate_repair, reading.read_relation
        )
        known = ("same", "contradicting", "different")
        return [relation if relation in known else "undetermined" for relation in read]

    def _principles(self, proposals: Sequence[Proposal], chunk: Sequence[Verdict]) -> list[Principle]:
        ranks: dict[str, int] = {}
        principles = []
        for proposal in proposals[:_MOST_RECORDED]:
            text = " ".join(proposal.text.split())
            rank = ranks.setdefault(text.casefold(), len(ranks))
            principle = _principle(proposal, text, chunk)
            fault = fault_of(proposal)
            if fault is not None:
                principle = self._rejected(principle, fault)
            elif not principle.evidence:
                principle = self._rejected(principle, "it names none of the failures")
            elif self._repeats(principle, chunk):
                principle = self._rejected(
                    principle, "it repeats the example of the request, which is not about these failures"
                )
            elif rank >= self.max_principles:
                principle = self._rejected(principle, f"it goes beyond the {self.max_principles} that were asked for")
            principles.append(principle)
        if len(proposals) > _MOST_RECORDED:
            log.warning("A reply has %d principles; the first %d are recorded.", len(proposals), _MOST_RECORDED)
        return principles

    def _rejected(self, principle: Principle, reason: str) -> Principle:
        return principle.happened(Event(kind="rejected", by=self.name, reason=reason), status="rejected")

    def _repeats(self, principle: Principle, chunk: Sequence[Verdict]) -> bool:
        """Whether it is the request in its own words, on a subject that no failure has."""
        if taken_from(principle.text, [self.text.text]) < _REPEATED:
            return False
        material = " ".join(text for verdict in chunk for text in self._material(verdict)).casefold()
        subjects = [word[:_STEM] for word in (principle.category or "").split() if len(word) >= _STEM]
        return not any(subject in material for subject in subjects)

    def _material(self, verdict: Verdict) -> tuple[str, str]:
        """Question and answer as the proposer sees them: here a long one may be cut, since nothing is judged by it."""
        longest = self.max_characters // 2
        return cut(verdict.response.prompt.question, longest), cut(verdict.response.text, longest)

    def _request(
        self, chunk: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict]
    ) -> ChatRequest:
        shown = self._contrast(chunk, contrast)
        material = [self._material(verdict) for verdict in (*chunk, *shown)]
        known = "\n".join(f"- {principle.text}" for principle in self._shown(chunk, adopted))
        texts = [text for pair in material for text in pair]
        fence = Fence.around([known, *texts])
        # A code of their own: all groups of a round then share the principles too, which servers need not read again.
        principles = Fence.around([known], beside=[*texts, fence.code])
        listed = []
        for number, (failure, (question, answer)) in enumerate(zip(chunk, material, strict=False), start=1):
            fault = ", ".join(failure.violations) or "unacceptable"
            kind = category_of(failure.category or "")
            pieces = fence.put(f"question {number}", question) + "\n" + fence.put(f"answer {number}", answer)
            listed.append(f"Failure {number} ({fault}{f', {kind}' if kind else ''}):\n{pieces}")
        for question, answer in material[len(chunk) :]:
            pieces = fence.put("question", question) + "\n" + fence.put("answer", answer)
            listed.append(f"For contrast, an acceptable answer to a similar question; it is no failure:\n{pieces}")
        text = self.text.fill(
            failures="\n\n".join(listed),
            adopted=principles.put("adopted principles", known) if known else "(none so far)",
            max_principles=str(self.max_principles),
        )
        return ChatRequest((Message("user", text),), self.tokens, schema=reading.PROPOSE_SCHEMA)

    def _relate_request(self, first: Principle, second: Principle) -> ChatRequest:
        fence = Fence.around([first.text, second.text])
        text = self.relate_text.fill(first=fence.put("first", first.text), second=fence.put("second", second.text))
        return ChatRequest((Message("user", text),), self.tokens, schema=reading.RELATE_SCHEMA)

    def _contrast(self, chunk: Sequence[Verdict], contrast: Sequence[Verdict]) -> list[Verdict]:
        """The acceptable answers whose questions are most like the chunk's, as many as fit."""
        alike = by_words(
            [verdict.response.prompt.question for verdict in contrast],
            [failure.response.prompt.question for failure in chunk],
        )
        order = sorted(range(len(contrast)), key=lambda index: (-max(alike[index]), index))[:_CONTRASTS]
        return within([contrast[index] for index in order], self._length, self.max_characters)

    def _length(self, verdict: Verdict) -> int:
        return sum(map(len, self._material(verdict)))

    def _shown(self, chunk: Sequence[Verdict], adopted: Sequence[Principle]) -> list[Principle]:
        """The adopted principles that fit into `max_characters`: those of the failures' categories, then the newest."""
        categories = {failure.category for failure in chunk if failure.category}
        order = sorted(
            range(len(adopted)), key=lambda index: (adopted[index].category in categories, index), reverse=True
        )
        kept = within(order, lambda index: len(adopted[index].text), self.max_characters)
        return [adopted[index] for index in sorted(kept)]


def read_usable(text: str) -> list[Proposal]:
    """The proposals of a reply. Raises Unreadable; Faulty where one is no rule to follow."""
    found = reading.read_proposals(text)
    faults = [f"principle {number}: {fault}" for number, one in enumerate(found, start=1) if (fault := fault_of(one))]
    if faults:
        raise Faulty("; ".join(faults[:_FAULTS_TOLD]), found)
    return found


def fault_of(proposal: Proposal) -> str | None:
    """What keeps a proposal from being a rule that can be followed, for the proposer to mend."""
    empty = why_empty(proposal.text)
    if empty is not None:
        return empty
    if proposal.prohibiting is None:
        return None
    if not proposal.prohibiting.strip():
        return 'its wording "prohibiting" is empty'
    if contradict(proposal.text, proposal.prohibiting):
        return "its two wordings contradict each other: one forbids what the other asks for"
    return None


def within(items: Sequence[T], length: Callable[[T], int], most: int) -> list[T]:
    """The first items whose lengths together are at most `most`."""
    kept, size = [], 0
    for item in items:
        size += length(item)
        if size > most:
            break
        kept.append(item)
    return kept


def category_of(text: str) -> str | None:
    """Lower case, in one line, short; None for none."""
    category = "".join(letter if letter.isalnum() or letter in "-_/&," else " " for letter in text.lower())
    category = " ".join(category.split())[:_LONGEST_CATEGORY]
    return category if category not in ("", "none", "n/a") else None


def cut(text: str, longest: int) -> str:
    """The text, marked where it is cut."""
    return text if len(text) <= longest else text[:longest] + " [cut]"


def _principle(proposal: Proposal, text: str, chunk: Sequence[Verdict]) -> Principle:
    numbers = sorted({number for number in proposal.failures if 1 <= number <= len(chunk)})
    return Principle(
        id="",
        text=text,
        round=0,
        evidence=tuple(dict.fromkeys(chunk[number - 1].response.prompt.id for number in numbers)),
        category=category_of(proposal.category),
        other_wording=" ".join((proposal.prohibiting or "").split()),
    )
