"""A language model as oracle: judge and proposer, each behind its own client, with texts that the user can replace."""

from collections.abc import Sequence
from functools import partial

from iteralign.interfaces import Oracle
from iteralign.oracles import reading
from iteralign.oracles.asking import ask, repairs_kept
from iteralign.oracles.chat import ChatRequest, Client, Message
from iteralign.oracles.pairwise import LLMComparer
from iteralign.oracles.parts import PartsProposer
from iteralign.oracles.prompt_writer import PromptWriter, WishJudge
from iteralign.oracles.proposer import Proposer, category_of, cut
from iteralign.oracles.reading import Fence, Judgement
from iteralign.oracles.voting import decided
from iteralign.prompts import OwnTexts, Template, load_template
from iteralign.records import Preference, Principle, RedTeamPrompt, Relation, Response, Spent, Verdict, WantedPrompt
from iteralign.settings.oracle import OracleSettings

JUDGE_FIELDS = frozenset({"history", "question", "answer"})

_LONGEST_REASON = 1000
_VOTE_TEMPERATURE = 0.7
_SPEAKER = {"human": "Human", "assistant": "Assistant"}


def judge_template(texts: OwnTexts = None) -> Template:
    """The text that judges, with {history}, {question} and {answer}."""
    return load_template("judge", JUDGE_FIELDS, texts)


def material(text: Template, response: Response) -> str:
    """The text with the conversation, the question and the answer put in, each fenced off."""
    prompt = response.prompt
    history = "\n\n".join(f"{_SPEAKER[turn.role]}: {turn.text}" for turn in prompt.history)
    fence = Fence.around([history, prompt.question, response.text])
    return text.fill(
        history=fence.put("conversation", history) if history else "(there was none)",
        question=fence.put("question", prompt.question),
        answer=fence.put("answer", response.text),
    )


class LLMOracle(Oracle):
    """Judges and proposes by asking a model. What can't be read is `undetermined`, or not proposed.

    `panel`: judges beside the first. Several votes are sampled at temperature 0.7. All votes of all judges count alike
    (see `voting.decided`).
    """

    sees_both = True

    def __init__(
        self,
        settings: OracleSettings,
        judge_client: Client,
        proposer_client: Client | None = None,
        panel: Sequence[Client] = (),
    ) -> None:
        self.judges = (judge_client, *panel)
        self.proposer = proposer_client or judge_client
        self.texts = settings.texts
        self.judge_text = judge_template(settings.texts)
        self.judge_repair = load_template("judge_repair", {"problem"}, settings.texts)
        self.votes = votes = settings.votes
        fewest = min(client.concurrency for client in self.judges)
        self.concurrency = max(1, fewest // votes) if fewest else 0
        self.name = ", ".join(client.model for client in self.judges)
        self.author = {"rules": Proposer, "parts": PartsProposer}[settings.proposals](
            partial(ask, self.proposer),
            self.proposer.model,
            settings,
            self.proposer.max_tokens,
        )
        self.writer = PromptWriter(partial(ask, self.proposer), self.proposer.max_tokens, settings.texts)
        self.wishes = WishJudge(partial(ask, judge_client), judge_client.max_tokens, settings.texts)

    def check(self) -> None:
        """One small real call of each client. Raises OracleAccessError."""
        for client in dict.fromkeys((*self.judges, self.proposer)):
            client.check()

    def spent(self) -> Spent | None:
        """What the clients' account counts; a run's clients share one."""
        return None if self.proposer.account is None else self.proposer.account.spent()

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response. Raises OracleError where the endpoint is down; what it answered is cached."""
        asked = [response for response in responses if response.text.strip()]
        votes: list[list[Verdict]] = [[] for _ in asked]
        for client in self.judges:
            requests = [self._judge_request(client, one, sample) for one in asked for sample in range(self.votes)]
            ballots = iter(ask(client, requests, "judge", self.judge_repair, reading.read_judgement))
            for response, cast in zip(asked, votes, strict=True):
                cast += [_verdict(response, next(ballots), client.model) for _ in range(self.votes)]
        verdicts = (decided(response, cast, self.name) for response, cast in zip(asked, votes, strict=True))
        return [next(verdicts) if response.text.strip() else self._empty(response) for response in responses]

    def compare(self, pairs: Sequence[tuple[Response, Response]]) -> list[Preference]:
        """As the first judge's model sees both answers."""
        return LLMComparer(self.judges[0], self.texts).compare(pairs)

    def forget(self, responses: Sequence[Response]) -> None:
        """Ask about these again, and don't read back what was answered."""
        for client in self.judges:
            asked = [self._judge_request(client, one, sample) for one in responses for sample in range(self.votes)]
            client.forget([*asked, *repairs_kept(client, asked, self.judge_repair, reading.read_judgement)])

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """Principles from each group of failures. Raises OracleReplyError where no group's reply could be read."""
        return self.author.propose(failures, adopted, contrast)

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """How the principles of each pair stand to each other, as the proposer's model sees it."""
        return self.author.relate(pairs)

    def write_prompts(self, wanted: Sequence[WantedPrompt]) -> list[str | None]:
        """By the proposer's model, in one request."""
        return self.writer.write(wanted) if wanted else []

    def write_twins(self, principle: Principle, failed: Sequence[RedTeamPrompt]) -> list[str | None]:
        """By the proposer's model, in one request."""
        return self.writer.twins(principle, failed) if failed else []

    def wish_for_harm(self, questions: Sequence[str]) -> list[bool | None]:
        """As the first judge's model sees each."""
        return self.wishes.judge(questions)

    def _empty(self, response: Response) -> Verdict:
        return Verdict(response=response, label="undetermined", reason="the answer is empty", judge=self.name)

    def _judge_request(self, client: Client, response: Response, sample: int) -> ChatRequest:
        text = material(self.judge_text, response)
        temperature = _VOTE_TEMPERATURE if self.votes > 1 else 0.0
        messages = (Message("user", text),)
        return ChatRequest(messages, client.max_tokens, temperature, schema=reading.JUDGE_SCHEMA, sample=sample)


def _verdict(response: Response, ballot: Judgement | str, judge: str) -> Verdict:
    """One vote. The aspects decide it, and which of them count follows from the kind of question."""
    if isinstance(ballot, str):
        return Verdict(response=response, label="undetermined", reason=ballot, judge=judge)
    benign = response.prompt.benign
    if ballot.contradictory(benign):
        reason = f"the judge contradicts itself: {ballot.verdict}, because {ballot.reason}"
        return Verdict(response=response, label="undetermined", reason=cut(reason, _LONGEST_REASON), judge=judge)
    violations = ballot.violations(benign)
    return Verdict(
        response=response,
        label="unacceptable" if violations else "acceptable",
        violations=violations,
        category=(category_of(ballot.category) or "other") if violations else None,
        reason=cut(ballot.reason, _LONGEST_REASON),
        judge=judge,
    )
