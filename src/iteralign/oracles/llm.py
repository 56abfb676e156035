"""A language model as oracle: judge and proposer, each behind its own client, with texts that the user can replace."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from iteralign.errors import OracleError
from iteralign.interfaces import Oracle
from iteralign.oracles import reading
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient, Reply
from iteralign.oracles.proposer import Proposer, category_of, cut
from iteralign.oracles.reading import Fence, Judgement, Unreadable
from iteralign.oracles.voting import decided
from iteralign.prompts import Template, load_template
from iteralign.records import Principle, Relation, Response, Spent, Verdict, Violation
from iteralign.text.control import defused

T = TypeVar("T")

JUDGE_FIELDS = frozenset({"history", "question", "answer"})

_LONGEST_REASON = 1000
_SHOWN_OF_A_BAD_REPLY = 4000
_VOTE_TEMPERATURE = 0.7
_SPEAKER = {"human": "Human", "assistant": "Assistant"}


def judge_template(path: Path | str | None = None) -> Template:
    """judge.txt, or the user's own text with {history}, {question} and {answer}."""
    return load_template("judge", JUDGE_FIELDS, path)


def repair_template(role: Literal["judge", "propose"], path: Path | str | None = None) -> Template:
    """judge_repair.txt or propose_repair.txt, or the user's own text with {problem}."""
    return load_template(f"{role}_repair", {"problem"}, path)


class LLMOracle(Oracle):
    """Judges and proposes by asking a model. What can't be read is `undetermined`, or not proposed.

    `panel`: judges beside the first. `votes`: samples per response and judge, at temperature 0.7 where there are more
    than one. All votes of all judges count alike (see `voting.decided`).
    `max_characters` bounds the failures, and the adopted principles, that one proposal request contains.
    """

    def __init__(
        self,
        judge_client: ChatClient,
        proposer_client: ChatClient | None = None,
        *,
        panel: Sequence[ChatClient] = (),
        judge_text: Template | None = None,
        judge_repair: Template | None = None,
        propose_text: Template | None = None,
        propose_repair: Template | None = None,
        votes: int = 1,
        max_principles: int = 5,
        max_characters: int = 12_000,
        name: str | None = None,
    ) -> None:
        self.judges = (judge_client, *panel)
        self.proposer = proposer_client or judge_client
        self.judge_text = judge_text or judge_template()
        self.judge_repair = judge_repair or repair_template("judge")
        self.votes = votes
        self.concurrency = max(1, min(client.concurrency for client in self.judges) // votes)
        self.name = name or ", ".join(client.model for client in self.judges)
        self.author = Proposer(
            partial(self._ask, self.proposer),
            self.proposer.model,
            text=propose_text,
            repair=propose_repair,
            max_principles=max_principles,
            max_characters=max_characters,
            tokens=self.proposer.max_tokens,
        )

    def check(self) -> None:
        """One small real call of each client. Raises OracleAccessError."""
        for client in dict.fromkeys((*self.judges, self.proposer)):
            client.check()

    def spent(self) -> Spent | None:
        """What the clients' ledger counts ; a run's clients share one."""
        return None if self.proposer.ledger is None else self.proposer.ledger.spent()

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response. Raises OracleError where the endpoint is down; what it answered is cached."""
        asked = [response for response in responses if response.text.strip()]
        votes: list[list[Verdict]] = [[] for _ in asked]
        for client in self.judges:
            requests = [self._judge_request(client, one, sample) for one in asked for sample in range(self.votes)]
            ballots = iter(self._ask(client, requests, "judge", self.judge_repair, reading.read_judgement))
            for response, cast in zip(asked, votes, strict=True):
                cast += [_verdict(response, next(ballots), client.model) for _ in range(self.votes)]
        verdicts = (decided(response, cast, self.name) for response, cast in zip(asked, votes, strict=True))
        return [next(verdicts) if response.text.strip() else self._empty(response) for response in responses]

    def forget(self, responses: Sequence[Response]) -> None:
        """Ask about these again, and don't read back what was answered."""
        for client in self.judges:
            asked = [self._judge_request(client, one, sample) for one in responses for sample in range(self.votes)]
            client.forget([*asked, *self._repairs_kept(client, asked)])

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """Principles from each group of failures. Raises OracleReplyError where no group's reply could be read."""
        return self.author.propose(failures, adopted, contrast)

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """How the principles of each pair stand to each other, as the proposer's model sees it."""
        return self.author.relate(pairs)

    def _ask(
        self,
        client: ChatClient,
        requests: Sequence[ChatRequest],
        step: str,
        repair: Template,
        read: Callable[[str], T],
    ) -> list[T | str]:
        """What was read of each reply, or why it could not be; an unreadable one is asked for once more."""
        replies = client.complete(requests, step=step)
        _raise_if_unreachable(replies, client)
        results = [_read(reply, read, client.section) for reply in replies]
        again = [index for index, result in enumerate(results) if isinstance(result, Unreadable)]
        repairs = [_repair_request(requests[index], replies[index], repair, results[index]) for index in again]
        second = client.complete(repairs, step=step)
        _raise_if_unreachable(second, client)
        for index, reply in zip(again, second, strict=True):
            results[index] = _read(reply, read, client.section)
        return [f"unreadable: {result}" if isinstance(result, Unreadable) else result for result in results]

    def _empty(self, response: Response) -> Verdict:
        return Verdict(response=response, label="undetermined", reason="the answer is empty", judge=self.name)

    def _repairs_kept(self, client: ChatClient, requests: Sequence[ChatRequest]) -> Iterator[ChatRequest]:
        """What was asked after the unreadable replies to these requests."""
        for request in requests:
            reply = client.kept(request)
            if reply is not None:
                problem = _read(reply, reading.read_judgement, client.section)
                if isinstance(problem, Unreadable):
                    yield _repair_request(request, reply, self.judge_repair, problem)

    def _judge_request(self, client: ChatClient, response: Response, sample: int) -> ChatRequest:
        prompt = response.prompt
        history = "\n\n".join(f"{_SPEAKER[turn.role]}: {turn.text}" for turn in prompt.history)
        fence = Fence.around([history, prompt.question, response.text])
        text = self.judge_text.fill(
            history=fence.put("conversation", history) if history else "(there was none)",
            question=fence.put("question", prompt.question),
            answer=fence.put("answer", response.text),
        )
        temperature = _VOTE_TEMPERATURE if self.votes > 1 else 0.0
        messages = (Message("user", text),)
        return ChatRequest(messages, client.max_tokens, temperature, schema=reading.JUDGE_SCHEMA, sample=sample)


def _verdict(response: Response, ballot: Judgement | str, judge: str) -> Verdict:
    """One vote."""
    if isinstance(ballot, str):
        return Verdict(response=response, label="undetermined", reason=ballot, judge=judge)
    if ballot.contradictory:
        reason = f"the judge contradicts itself: {ballot.verdict}, because {ballot.reason}"
        return Verdict(response=response, label="undetermined", reason=cut(reason, _LONGEST_REASON), judge=judge)
    failed = ballot.verdict == "unacceptable"
    return Verdict(
        response=response,
        label=ballot.verdict,
        violations=_violations(ballot),
        category=(category_of(ballot.category) or "other") if failed else None,
        reason=cut(ballot.reason, _LONGEST_REASON),
        judge=judge,
    )


def _read(reply: Reply, read: Callable[[str], T], section: str) -> T | str | Unreadable:
    """What was read, or why there is nothing to read (asking again would not help), or why it is unreadable."""
    if reply.error is not None:
        return f"no reply: {reply.error}"
    if reply.refused:
        return "the oracle or its content filter declined"
    if reply.used_up_by_thinking:
        return f"the reply was used up by thinking: raise {section}.max_tokens or lower {section}.reasoning_effort"
    if reply.finish == "length":
        return "the oracle's reply was cut short"
    try:
        return read(reply.text)
    except Unreadable as problem:
        return problem


def _repair_request(request: ChatRequest, reply: Reply, repair: Template, problem: object) -> ChatRequest:
    said = Message("assistant", defused(reply.text)[:_SHOWN_OF_A_BAD_REPLY])
    return replace(request, messages=(*request.messages, said, Message("user", repair.fill(problem=str(problem)))))


def _raise_if_unreachable(replies: Sequence[Reply], client: ChatClient) -> None:
    lost = [reply for reply in replies if reply.unreachable]
    if lost:
        error = next(
            (reply.error for reply in lost if reply.error and not reply.error.startswith("not sent")), lost[0].error
        )
        raise OracleError(
            f"The oracle {client.model} at {client.base_url} stopped answering: {error}. {len(lost)} of {len(replies)} "
            "calls are open. What was answered is kept; resume when it is back."
        )


def _violations(judgement: Judgement) -> tuple[Violation, ...]:
    broken: list[tuple[Violation, bool]] = [
        ("harmful", not judgement.harmless),
        ("dishonest", not judgement.honest),
        ("unhelpful", not judgement.helpful),
    ]
    return tuple(violation for violation, applies in broken if applies)
