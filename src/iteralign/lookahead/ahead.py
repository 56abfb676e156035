"""Rounds answered before their turn."""

import contextlib
import time
from collections.abc import Callable, Sequence
from itertools import islice

from iteralign.activity import Work, retold, within
from iteralign.interfaces import Target
from iteralign.lookahead.depth import Depth
from iteralign.lookahead.early import EarlyJudge
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint, RedTeamPrompt, Response, Sampling, Verdict
from iteralign.settings.rounds import LookAheadSettings
from iteralign.steps.judge import judge
from iteralign.steps.respond import as_finished


class LookAhead:
    """Answers the groups of prompts and has them judged, each in its turn: `begin`, `respond`, `judge`.

    Coming groups are answered too: several at once while rounds rarely fail, and in the time in which verdicts are under
    way. What was answered by weights that have changed since is thrown away, so that a round gets what it would get
    without all this, but for the rounding of sums in other batches.
    """

    def __init__(
        self,
        target: Target,
        early: EarlyJudge,
        form: PromptForm,
        sampling: Sampling,
        settings: LookAheadSettings,
    ) -> None:
        self.settings = settings
        self.target = target
        self.early = early
        self.form = form
        self.sampling = sampling
        self.depth = Depth(settings.rounds)
        self._number = 0
        """The round whose turn it is."""
        self._groups: dict[int, Sequence[RedTeamPrompt]] = {}
        """Of this round and of those after it whose prompts are known, as far as may be answered now."""
        self._answered: dict[int, dict[int, Response]] = {}
        """By round, and by place in its group."""
        self._bought: set[int] = set()
        """Rounds with all answers there, all of whose verdicts have been asked for."""
        self._weights: Checkpoint | None = None

    def begin(self, number: int, weights: Checkpoint, coming: Sequence[Sequence[RedTeamPrompt]]) -> None:
        """It is this round's turn, with these weights. `coming`: its prompts, and those of the next rounds as far as they are
        known. What others have answered ahead, or of prompts that are no longer coming, is thrown away."""
        self._number = number
        within_reach = islice(coming, 2 * self.depth.most)  # a block, and one behind those that are being judged
        known, self._groups = self._groups, dict(enumerate(within_reach, start=number))
        if weights != self._weights or any(self._groups.get(one) != known[one] for one in self._answered):
            self._answered.clear()
            self._bought.clear()
            self.early.drop(above=0)
        elif self.early.forgive(number):  # a failure that has not led to a training
            self._bought.clear()  # those behind it may have been left out
        self._weights = weights
        self.target.load(weights)

    def respond(self, prompts: Sequence[RedTeamPrompt]) -> list[Response]:
        """The responses to the round's prompts, in their order."""
        number = self._number
        assert prompts == self._groups[number]
        self._ask_for({number, *self._affordable()})
        if self._missing(number):
            self._answer(
                range(number, number + self.depth.rounds()),
                lambda: self._fails(number + 1) and not self._missing(number),
            )
        answered = self._answered.pop(number)
        return [answered[place] for place in range(len(answered))]

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response; meanwhile the target answers the next rounds' prompts."""
        for response in responses:
            self.early.ask(response, self._number + 1)
        with retold(lambda _: Work("judging", self.early.settled(responses), len(responses))):
            self._answer_while_judged(responses)
        verdicts = judge(self.early, responses)
        self.depth.judged(any(verdict.label == "unacceptable" for verdict in verdicts))
        return verdicts

    def _answer_while_judged(self, responses: Sequence[Response]) -> None:
        """Answer the next block while verdicts are under way, until one tells that the weights will change.

        Also a block behind rounds that are answered already, if all their verdicts are under way: then a failure among them
        is known so soon that what it makes worthless was begun in time that nobody else had a use for.
        """
        if not self.early.concurrency or not self.target.can_stop or self.depth.most == 1:
            return
        coming = self._number + 1
        while coming in self._bought:
            coming += 1
        if coming not in self._groups or not self._missing(coming) or self._fails(coming):
            return
        if self.early.settled(responses) < len(responses):
            size = self.depth.rounds(under_way=coming - self._number)
            self._answer(range(coming, coming + size), lambda: self._fails(coming))

    def _answer(self, numbers: Sequence[int], stop: Callable[[], bool]) -> None:
        """Answer what is missing of these rounds, in one block; at most until `stop`."""
        coming = [number for number in numbers if number in self._groups]
        places = [(number, place) for number in coming for place in self._missing(number)]
        prompts = [self._groups[number][place] for number, place in places]
        inputs = [self.form.render(prompt) for prompt in prompts]
        bought = {self._number, *self._affordable()}.intersection(coming)
        begin = time.perf_counter()
        with within(f"{len(coming)} rounds at once") if len(coming) > 1 else contextlib.nullcontext():
            for index, response in as_finished(self.target, self.form, prompts, inputs, self.sampling, stop):
                number, place = places[index]
                self._answered.setdefault(number, {})[place] = response
                if number in bought:
                    self.early.ask(response, number + 1)
        if not stop():  # else it was broken off, and what it took says nothing of what a block costs
            self._bought |= bought
            self.depth.took(len(places) / len(self._groups[coming[0]]), time.perf_counter() - begin)

    def _affordable(self) -> set[int]:
        """Coming rounds whose verdicts may be asked for before this one's are in: what is worth it and allowed."""
        allowed: set[int] = set()
        if not self.early.concurrency or self._fails(self._number + 1):
            return allowed
        asked = self.early.asked - self.early.under_way(above=self._number + 1)
        in_vain = self.early.wasted
        last = min(self._number + self.depth.most, self._number + len(self._groups))
        for number in range(self._number + 1, last):
            in_vain, asked = in_vain + len(self._groups[number]), asked + len(self._groups[number])
            worth_it = self.depth.likely_of_use(number - self._number)
            if in_vain > self.settings.wasted_verdicts * asked or not worth_it:
                break
            allowed.add(number)
        return allowed

    def _ask_for(self, numbers: set[int]) -> None:
        """Ask for the verdicts on what is answered of these rounds."""
        for number in sorted(numbers - self._bought):
            for response in self._answered.get(number, {}).values():
                self.early.ask(response, number + 1)
            if not self._missing(number):
                self._bought.add(number)

    def _missing(self, number: int) -> list[int]:
        """Places of the round's group that are not answered."""
        return [place for place in range(len(self._groups[number])) if place not in self._answered.get(number, {})]

    def _fails(self, number: int) -> bool:
        """Whether a round before this one is known to have failed, so that other weights will answer it."""
        return self.early.failed_before(number + 1)
