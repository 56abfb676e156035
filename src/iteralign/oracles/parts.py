"""A proposer that is asked about one failure at a time: what somebody wished for, and who would be hurt.

A rule for each few failures that are alike is put together out of the replies. A model of one or two billion parameters
can say these things, and can't write a rule on many failures (docs/log.md).
"""

import logging
import math
from collections.abc import Iterator, Sequence

from iteralign.errors import OracleReplyError
from iteralign.oracles import reading
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.grouping import MOST, groups
from iteralign.oracles.proposer import Ask, Proposer, cut
from iteralign.oracles.reading import FailureParts, Fence, Unreadable
from iteralign.prompts import OwnTexts, Template, load_template
from iteralign.prompts.fitness import LONGEST, why_empty
from iteralign.records import Principle, Relation, Verdict
from iteralign.settings.oracle import OracleSettings

log = logging.getLogger(__name__)

Known = tuple[Verdict, FailureParts]
"""A failure and what was said of it."""

_NAMED = 3
"""Wishes that a rule names at most; further failures like these are its evidence all the same."""
_LONGEST_PART = 120
"""Characters of a part at most."""
_NOBODY = ("nobody", "no one", "noone", "none", "n/a", "")
_BEFORE_THE_VERB = ("they want to ", "the person wants to ", "to ")


def parts_template(texts: OwnTexts = None) -> Template:
    """The text that asks for the parts, with {question}."""
    return load_template("parts", {"question"}, texts)


class PartsProposer(Proposer):
    """Does `Oracle.propose` in parts; of `Oracle.relate` it knows nothing."""

    def __init__(self, ask: Ask, name: str, settings: OracleSettings, tokens: int) -> None:
        super().__init__(ask, name, settings, tokens)
        self.parts_text = parts_template(settings.texts)
        self.parts_repair = load_template("parts_repair", {"problem"}, settings.texts)
        self.rule = load_template("parts_rule", {"wishes", "hurt"}, settings.texts)

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """A rule for each few failures that are alike, at most `max_principles` for each group of them.

        A failure whose question hurts nobody, by the proposer's own words, leads to a rule with status `rejected`; one of
        another kind than harm to none. Raises OracleReplyError where no reply could be read.
        """
        harmful = [failure for failure in failures if "harmful" in failure.violations]
        if len(harmful) < len(failures):
            log.warning(
                "%d of %d failures are of another kind than harm, and led to no principle: oracle.proposals is parts.",
                *(len(failures) - len(harmful), len(failures)),
            )
        read = self.ask([self._parts_request(one) for one in harmful], "propose", self.parts_repair, read_parts)
        known = [(one, parts) for one, parts in zip(harmful, read, strict=True) if isinstance(parts, FailureParts)]
        problems = [parts for parts in read if isinstance(parts, str)]
        if harmful and not known:
            raise OracleReplyError(
                f"The proposer {self.name} gave no readable parts of a principle for {len(harmful)} failures: "
                f"{problems[0]}. Try a model that follows instructions better, or a text `parts` of your own."
            )
        for problem in problems:
            log.warning("One of %d failures led to no principle: %s.", len(harmful), problem)
        hurting = [pair for pair in known if not _nobody(pair[1])]
        return [*self._rules(hurting), *(self._harmless(pair) for pair in known if _nobody(pair[1]))]

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """Different, without a call: rules of one form are alike whatever they are about, and can't contradict one another."""
        return ["different"] * len(pairs)

    def _parts_request(self, failure: Verdict) -> ChatRequest:
        question = cut(failure.response.prompt.question, self.max_characters)
        text = self.parts_text.fill(question=Fence.around([question]).put("question", question))
        return ChatRequest((Message("user", text),), self.tokens, schema=reading.PARTS_SCHEMA)

    def _rules(self, known: Sequence[Known]) -> Iterator[Principle]:
        parts = {failure.response.prompt.id: parts for failure, parts in known}
        for alike in groups([failure for failure, _ in known], lambda _: 1, MOST):
            size = max(_NAMED, math.ceil(len(alike) / self.max_principles))
            for first in range(0, len(alike), size):
                few = alike[first : first + size]
                rule = self._rule([(failure, parts[failure.response.prompt.id]) for failure in few])
                # What is done about the wishes is the same in all rules.
                empty = why_empty(rule.text.partition(":")[0])
                yield rule if empty is None else self._rejected(rule, empty)

    def _rule(self, known: Sequence[Known]) -> Principle:
        named = [parts for _, parts in known[:_NAMED]]
        text = self._text(named)
        while len(text) > LONGEST and len(named) > 1:
            text = self._text(named := named[:-1])
        return Principle(id="", text=text, round=0, evidence=tuple(failure.response.prompt.id for failure, _ in known))

    def _text(self, named: Sequence[FailureParts]) -> str:
        wishes, hurt = [_verb(parts.wish) for parts in named], [_tidy(parts.hurt) for parts in named]
        return self.rule.fill(wishes=_listed(wishes), hurt=_listed(hurt))

    def _harmless(self, pair: Known) -> Principle:
        return self._rejected(self._rule([pair]), "by the proposer's own words it hurts nobody")


def read_parts(text: str) -> FailureParts:
    """Of too many who are hurt the first ones. Raises Unreadable for anything but one JSON object of the agreed form with
    short parts and a wish."""
    parts = reading.read_json(FailureParts, text)
    if len(parts.hurt) > _LONGEST_PART:
        first, comma, _ = parts.hurt[: _LONGEST_PART + 1].rpartition(",")
        parts = parts.model_copy(update={"hurt": first}) if comma else parts
    for name, part in parts:
        if len(part) > _LONGEST_PART:
            raise Unreadable(f"{name}: it must have at most {_LONGEST_PART} characters")
    if not _verb(parts.wish):
        raise Unreadable("wish: it is empty")
    return parts


def _nobody(parts: FailureParts) -> bool:
    return _tidy(parts.hurt).casefold() in _NOBODY


def _verb(wish: str) -> str:
    """The wish from its verb on, as it goes on after "to"."""
    tidy = _tidy(wish)
    before = next((words for words in _BEFORE_THE_VERB if tidy.casefold().startswith(words)), "")
    return _tidy(tidy[len(before) :])


def _tidy(part: str) -> str:
    """As it stands within a sentence."""
    first, *rest = part.rstrip(" .!?\n").split() or [""]
    return " ".join([first.lower() if first.istitle() else first, *rest])


def _listed(some: Sequence[str]) -> str:
    """Each once: a, b or c."""
    *first, last = dict.fromkeys(some)
    return f"{', '.join(first)} or {last}" if first else last
