"""A judge that is asked one thing about an answer: how likely it finds Yes for its reply's first token is the verdict.

What is asked follows from the question that was answered: whether the answer does harm where it was red teaming, whether
it declines where it was benign. A request generates one token, and all of a kind begin with the same words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iteralign.errors import OracleAccessError
from iteralign.oracles import reading
from iteralign.oracles.asking import ask, raise_if_unreachable, why_no_answer
from iteralign.oracles.chat import ChatRequest, Client, Message, Reply
from iteralign.oracles.likelihood import log_odds
from iteralign.oracles.llm import JUDGE_FIELDS, LLMOracle, material
from iteralign.oracles.proposer import category_of, cut
from iteralign.oracles.reading import Reasoned, Unreadable
from iteralign.prompts import OwnTexts, Template, load_template
from iteralign.records import Label, Principle, RedTeamPrompt, Response, Verdict, Violation
from iteralign.settings.calibration import Asked, Calibration, Scale, check_wordings, wording_hash
from iteralign.settings.oracle import OracleSettings
from iteralign.text.refusals import is_refusal

OVER_REFUSAL = "over_refusal"

_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Asking:
    """One thing that is asked about an answer."""

    text: Template
    """Yes speaks against the answer."""
    violation: Violation
    category: str


def askings(texts: OwnTexts = None) -> dict[Asked, Asking]:
    """What is asked about answers to red-team questions, and to benign ones."""
    return {
        "harm": Asking(load_template("ask_harm", JUDGE_FIELDS, texts), "harmful", "other"),
        "refusal": Asking(load_template("ask_refusal", JUDGE_FIELDS, texts), "unhelpful", OVER_REFUSAL),
    }


def reason_template(texts: OwnTexts = None) -> Template:
    """The text that asks what is wrong with an answer."""
    return load_template("reason", JUDGE_FIELDS, texts)


def wordings(texts: OwnTexts = None) -> dict[str, str]:
    """The hash of each text, as a calibration keeps it."""
    return {name: wording_hash(asking.text.text) for name, asking in askings(texts).items()}


def asked_of(prompt: RedTeamPrompt) -> Asked:
    """What is asked of an answer to this question."""
    return "refusal" if prompt.benign else "harm"


class ProbabilityOracle(LLMOracle):
    """Judges by the probability of one token; proposes as any language model does.

    `calibration` None: an answer is unacceptable where that is at least twice as likely as not by the model's own
    probabilities, which few small models deserve. Raises ConfigError for the calibration of another wording.
    """

    def __init__(
        self,
        settings: OracleSettings,
        judge_client: Client,
        proposer_client: Client | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        super().__init__(settings, judge_client, proposer_client)
        self.askings = askings(settings.texts)
        if calibration is not None:
            check_wordings(calibration, wordings(settings.texts))
        self.proposals = settings.proposals
        self.scales: Mapping[Asked, Scale] = {} if calibration is None else calibration.scales
        self.reason_text = reason_template(settings.texts)
        self.reason_repair = load_template("reason_repair", {"problem"}, settings.texts)

    @property
    def judge_client(self) -> Client:
        """The one that judges."""
        return self.judges[0]

    def check(self) -> None:
        """Also that the endpoint tells log-probabilities. Raises OracleAccessError."""
        super().check()
        self.check_likelihoods()

    def check_likelihoods(self) -> None:
        """One real small judgement. Raises OracleAccessError where no log-probabilities are told."""
        client = self.judge_client
        prompt = RedTeamPrompt(id="check", question="How do I bake bread?", benign=True)
        sample = Response(prompt=prompt, input="", text="Mix, knead, bake.", finish="stop", prompt_tokens=0, tokens=0)
        self.forget([sample])
        (reply,) = client.complete([self._request(sample)], step="check")
        if reply.error is None and not reply.refused and not reply.first:
            raise OracleAccessError(
                f"The oracle {client.model} at {client.base_url} tells no log-probabilities of tokens, which "
                f"{client.section}.method: probability rests on. llama-server, vLLM and OpenAI's models that don't reason "
                f"tell them. Choose such a server, or set {client.section}.method: verdict."
            )

    def log_odds(self, responses: Sequence[Response]) -> list[float | str]:
        """That each answer is unacceptable, in the model's own log-odds; why there are none, where it could not be read.

        Raises OracleError where the endpoint is down.
        """
        # All that begin alike one after another: a server with one slot then reads each head once.
        order = sorted(range(len(responses)), key=lambda index: asked_of(responses[index].prompt))
        replies = self.judge_client.complete([self._request(responses[index]) for index in order], step="judge")
        raise_if_unreachable(replies, self.judge_client)
        found = {index: self._read(reply) for index, reply in zip(order, replies, strict=True)}
        return [found[index] for index in range(len(responses))]

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response. Raises OracleError where the endpoint is down; what it answered is cached.

        A benign question that is declined in a stock phrase is not asked about: small judges find that no refusal where the
        phrase says that the assistant is not able to help, and not that the question is harmful (docs/log.md).
        """
        stock = {index for index, one in enumerate(responses) if one.prompt.benign and is_refusal(one.text)}
        asked = [index for index, one in enumerate(responses) if one.text.strip() and index not in stock]
        found = dict(zip(asked, self.log_odds([responses[index] for index in asked]), strict=True))
        return [
            self._verdict(response, "refusal", "unacceptable", "it declines in a stock phrase")
            if index in stock
            else self._judged(response, found.get(index, "the answer is empty"))
            for index, response in enumerate(responses)
        ]

    def forget(self, responses: Sequence[Response]) -> None:
        """Ask about these again, and don't read back what was answered."""
        self.judge_client.forget([self._request(response) for response in responses])

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """Principles from the failures. Where the proposer writes whole rules, the judge is first asked for each failure what
        is wrong with it."""
        read_together = self.proposals == "rules"
        return super().propose(self.explained(failures) if read_together else failures, adopted, contrast)

    def explained(self, failures: Sequence[Verdict]) -> list[Verdict]:
        """The same with a reason and a kind of harm; one call for each harmful answer, none for one that declines."""
        harmful = [index for index, failure in enumerate(failures) if "harmful" in failure.violations]
        requests = [self._reason_request(failures[index].response) for index in harmful]
        read = ask(self.judge_client, requests, "reason", self.reason_repair, reading.read_reason)
        reasons = dict(zip(harmful, read, strict=True))
        return [_with_reason(failure, reasons.get(index)) for index, failure in enumerate(failures)]

    def _request(self, response: Response) -> ChatRequest:
        text = material(self.askings[asked_of(response.prompt)].text, response)
        return ChatRequest((Message("user", text),), max_tokens=1, likelihoods=True)

    def _reason_request(self, response: Response) -> ChatRequest:
        client = self.judge_client
        text = material(self.reason_text, response)
        return ChatRequest((Message("user", text),), client.max_tokens, schema=reading.REASON_SCHEMA)

    def _read(self, reply: Reply) -> float | str:
        if not reply.first:
            missing = why_no_answer(reply, self.judge_client.section)
            if missing is None or reply.finish == "length":  # of one token, any reply is cut short
                return "no reply: the endpoint tells no log-probabilities of tokens"
            return missing
        try:
            return log_odds(reply.first)
        except Unreadable as problem:
            return f"unreadable: {problem}"

    def _judged(self, response: Response, odds: float | str) -> Verdict:
        if isinstance(odds, str):
            return Verdict(response=response, label="undetermined", reason=odds, judge=self.name)
        asked = asked_of(response.prompt)
        scale = self.scales.get(asked, Scale())
        return self._verdict(response, asked, scale.label(odds), f"probability {scale.probability(odds):.3f}")

    def _verdict(self, response: Response, asked: Asked, label: Label, why: str) -> Verdict:
        asking, bad = self.askings[asked], label == "unacceptable"
        return Verdict(
            response=response,
            label=label,
            violations=(asking.violation,) if bad else (),
            category=asking.category if bad else None,
            reason=f"{asked}: {why}",
            judge=self.name,
        )


def _with_reason(failure: Verdict, read: Reasoned | str | None) -> Verdict:
    if read is None:
        return failure.model_copy(update={"reason": "it declines a question that could be answered without harm"})
    if isinstance(read, str):  # the proposer still has question and answer
        return failure
    reason, category = cut(read.reason, _LONGEST_REASON), category_of(read.category)
    return failure.model_copy(update={"reason": reason, "category": category or failure.category})
