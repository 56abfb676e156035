"""`LookAhead`: what the loop sees as its target and oracle. See the package's docstring."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from iteralign.activity import Work, retold, tell, within
from iteralign.interfaces import Oracle, Target, never
from iteralign.lookahead.depth import Depth
from iteralign.lookahead.verdicts import Verdicts
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint, Generation, Principle, RedTeamPrompt, Relation, Response, Sampling, Verdict
from iteralign.settings.rounds import LookAheadSettings
from iteralign.steps.judge import unasked
from iteralign.steps.respond import as_response


class NotingForm(PromptForm):
    """The form given, noting which prompt each text was rendered from since it was last asked."""

    def __init__(self, inner: PromptForm) -> None:
        self.inner = inner
        self._noted: list[tuple[str, RedTeamPrompt, bool]] = []

    def render(
        self,
        prompt: RedTeamPrompt,
        principles: Sequence[Principle] = (),
        draft: str | None = None,
        critique: str | None = None,
    ) -> str:
        text = self.inner.render(prompt, principles, draft, critique)
        if draft is None:  # the drafts of a sequential revision are not judged, but for the last
            self._noted.append((text, prompt, not principles))
        return text

    def ask_critique(self, prompt: RedTeamPrompt, principles: Sequence[Principle], draft: str) -> str:
        return self.inner.ask_critique(prompt, principles, draft)

    def unjudged(self) -> PromptForm:
        return self.inner.unjudged()

    def answer(self, generated: str) -> str:
        return self.inner.answer(generated)

    def completion(self, answer: str) -> str:
        return self.inner.completion(answer)

    def taken(self) -> list[tuple[str, RedTeamPrompt, bool]]:
        """(text, prompt, whether it stands there without principles), in the order of rendering."""
        noted, self._noted = self._noted, []
        return noted


class LookAhead(Target, Oracle):
    """Target and oracle around those of a run; its `form` replaces the run's.

    With an oracle that takes calls side by side (its `concurrency`), each answer is judged as soon as it is
    generated. With `settings.rounds` above 1, coming rounds are answered too: several at once while rounds rarely fail, and in
    the time in which verdicts are under way. What was answered by weights that have changed since is thrown away, so
    that the loop gets what it would get without all this, but for the rounding of sums in other batches.
    """

    def __init__(
        self,
        target: Target,
        oracle: Oracle,
        form: PromptForm,
        groups: Sequence[Sequence[RedTeamPrompt]],
        sampling: Sampling,
        settings: LookAheadSettings,
    ) -> None:
        """`groups` and `sampling` are the loop's."""
        self.target = target
        self.can_score = target.can_score
        self.oracle = oracle
        self.form = NotingForm(form)
        self.groups = groups
        self.sampling = sampling
        self.wasted_share = settings.wasted_verdicts
        self.depth = Depth(settings.rounds)
        self.verdicts = Verdicts(oracle, oracle.concurrency) if oracle.concurrency else None
        self.answered_in_vain = 0
        """Answers thrown away."""
        self._starts = {group[0].id: number for number, group in enumerate(groups)}
        self._memory: dict[str, Generation] = {}
        self._inputs: dict[int, dict[str, list[RedTeamPrompt]]] = {}
        self._current: int | None = None
        """The round whose prompts were asked for last."""
        self._asked_for: set[str] = set()
        """Its texts."""
        self._bought: set[int] = set()
        """Coming rounds with answers in memory, all of whose verdicts have been asked for."""
        self._checkpoint: Checkpoint | None = None

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Around the loop: when it breaks off, calls under way are waited for; not when a person interrupts it."""
        try:
            yield
        except Exception:
            if self.verdicts is not None:
                self.verdicts.finish()
            raise

    def load(self, checkpoint: Checkpoint) -> None:
        """Generate with these weights from now on; what others have answered ahead is thrown away."""
        if checkpoint != self._checkpoint:
            self.answered_in_vain += len(self._memory)
            self._memory.clear()
            self._bought.clear()
            if self.verdicts is not None:
                self.verdicts.drop(above=0)
        self._checkpoint = checkpoint
        self.target.load(checkpoint)

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        """Continue each text, or give what was answered ahead."""
        noted = self.form.taken()
        number = self._round_of(noted, sampling)
        if number is None:
            return self._answer_other(inputs, sampling, noted)
        self._current = number
        self._asked_for = set(inputs)
        if self.verdicts is not None and self.verdicts.forgive(number):  # a failure that has not led to a training
            self._bought.clear()  # those behind it may have been left out
        for text in self._inputs_of(number).keys() & self._memory.keys():
            self._ask(number, text)
        self._ask_ahead(number)
        if self._missing(number):
            self._answer(
                range(number, number + self.depth.rounds()), lambda: self._fails(number) and not self._missing(number)
            )
        if self._missing(number):  # the block was ended by a failure
            self._answer([number], never)
        generations = [self._memory[text] for text in inputs]
        for text in self._inputs.pop(number):
            del self._memory[text]
        return generations

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response; meanwhile the target answers the next rounds' prompts."""
        of_round = self._current is not None and all(response.input in self._asked_for for response in responses)
        rank = self._current + 1 if self._current is not None and of_round else 0
        if self.verdicts is None:
            tell("judging", 0, len(responses))
            with retold(lambda work: replace(work, what="judging")):  # a guard model's answers are its verdicts
                verdicts = self.oracle.judge(responses)
        else:
            for response in responses:
                self.verdicts.ask(response, rank)
            with retold(lambda _: Work("judging", self._settled(responses), len(responses))):
                self._answer_while_judged(responses)
            verdicts = self.verdicts.collect(responses)
        if rank:
            self.depth.judged(any(verdict.label == "unacceptable" for verdict in verdicts))
        return verdicts

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """The oracle's."""
        return self.oracle.propose(failures, adopted, contrast)

    def forget(self, responses: Sequence[Response]) -> None:
        """The oracle's."""
        self.oracle.forget(responses)

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """The oracle's."""
        return self.oracle.relate(pairs)

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
        """The target's."""
        return self.target.score(inputs, completions)

    def rest(self) -> None:
        """The target's."""
        self.target.rest()

    def _round_of(self, noted: Sequence[tuple[str, RedTeamPrompt, bool]], sampling: Sampling) -> int | None:
        """The round whose prompts were rendered, in its order and without principles; None for anything else."""
        number = self._starts.get(noted[0][1].id) if noted and sampling == self.sampling else None
        if number is None or not all(plain for _, _, plain in noted):
            return None
        return number if [prompt for _, prompt, _ in noted] == list(self.groups[number]) else None

    def _answer_other(
        self, inputs: Sequence[str], sampling: Sampling, noted: Sequence[tuple[str, RedTeamPrompt, bool]]
    ) -> list[Generation]:
        """Revisions and measurements: nothing ahead, but judged as they are generated."""
        prompts = {text: prompt for text, prompt, _ in noted}
        done: dict[int, Generation] = {}
        for index, generation in self.target.stream(inputs, sampling, never):
            done[index] = generation
            if inputs[index] in prompts:
                self._ask_of(prompts[inputs[index]], inputs[index], generation, 0)
        return [done[index] for index in range(len(inputs))]

    def _answer_while_judged(self, responses: Sequence[Response]) -> None:
        """Answer the next block while verdicts are under way, until one tells that the weights will change.

        Also a block behind rounds that are answered already, if all their verdicts are under way: then a failure among them
        is known so soon that what it makes worthless was begun in time that nobody else had a use for.
        """
        if self._current is None or not self.target.can_stop or self.depth.most == 1:
            return
        coming = self._current + 1
        while coming in self._bought:
            coming += 1
        if coming == len(self.groups) or not self._missing(coming) or self._fails(coming):
            return
        if self._settled(responses) == len(responses):
            return
        size = self.depth.rounds(under_way=coming - self._current)
        self._answer(range(coming, coming + size), lambda: self._fails(coming))

    def _answer(self, numbers: Sequence[int], stop: Callable[[], bool]) -> None:
        """Answer what is missing of these rounds, in one block, into memory; at most until `stop`."""
        coming = [number for number in numbers if number < len(self.groups) and not self._fails(number)]
        coming = coming or list(numbers[:1])
        texts = {text: number for number in coming for text in self._missing(number)}
        bought = self._affordable(self._current or 0) | {number for number in coming if number == self._current}
        begin = time.perf_counter()
        order = list(texts)
        with within(f"{len(coming)} rounds at once") if len(coming) > 1 else contextlib.nullcontext():
            for index, generation in self.target.stream(order, self.sampling, stop):
                text = order[index]
                self._memory[text] = generation
                if texts[text] in bought:
                    self._ask(texts[text], text)
                if stop():
                    return
        if stop():  # broken off: what it took says nothing of what a block costs
            return
        self._bought.update(bought.intersection(coming))
        self.depth.took(len(order) / len(self.groups[coming[0]]), time.perf_counter() - begin)

    def _affordable(self, current: int) -> set[int]:
        """Coming rounds whose verdicts may be asked for before those of `current` are in: what is worth it and allowed."""
        allowed: set[int] = set()
        if self.verdicts is None or self._fails(current + 1):
            return allowed
        asked = self.verdicts.asked - self.verdicts.under_way(above=current + 1)
        in_vain = self.verdicts.wasted
        for number in range(current + 1, min(current + self.depth.most, len(self.groups))):
            in_vain, asked = in_vain + len(self.groups[number]), asked + len(self.groups[number])
            if in_vain > self.wasted_share * asked or not self.depth.likely_of_use(number - current):
                break
            allowed.add(number)
        return allowed

    def _ask_ahead(self, current: int) -> None:
        """Ask for the verdicts on what is in memory of rounds that have become affordable."""
        for number in sorted(self._affordable(current) - self._bought):
            for text in self._inputs_of(number):
                if text in self._memory:
                    self._ask(number, text)
            if not self._missing(number):
                self._bought.add(number)

    def _ask(self, number: int, text: str) -> None:
        """Ask for the verdicts on an answer in memory."""
        for prompt in self._inputs_of(number)[text]:
            self._ask_of(prompt, text, self._memory[text], number + 1)

    def _ask_of(self, prompt: RedTeamPrompt, text: str, generation: Generation, rank: int) -> None:
        """Ask for the verdict on one answer, unless it needs none."""
        response = as_response(self.form.inner, prompt, text, generation)
        if self.verdicts is not None and unasked(response) is None:
            self.verdicts.ask(response, rank)

    def _inputs_of(self, number: int) -> dict[str, list[RedTeamPrompt]]:
        """A round's texts, each with its prompts (two prompts may read the same)."""
        if number not in self._inputs:
            texts: dict[str, list[RedTeamPrompt]] = {}
            for prompt in self.groups[number]:
                texts.setdefault(self.form.inner.render(prompt), []).append(prompt)
            self._inputs[number] = texts
        return self._inputs[number]

    def _missing(self, number: int) -> list[str]:
        return [text for text in self._inputs_of(number) if text not in self._memory]

    def _fails(self, number: int) -> bool:
        """Whether a round before this one is known to have failed, so that other weights will answer it."""
        return self.verdicts is not None and self.verdicts.failed_before(number + 1)

    def _settled(self, responses: Sequence[Response]) -> int:
        return 0 if self.verdicts is None else self.verdicts.settled(responses)
