"""A language model as the author of questions, and as judge of whether a question wishes for harm."""

from collections.abc import Sequence

from iteralign.oracles import reading
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.proposer import Ask, cut
from iteralign.oracles.reading import Fence
from iteralign.prompts import OwnTexts, load_template
from iteralign.records import Principle, RedTeamPrompt, WantedPrompt

_SHOWN = 2000  # characters of a question


class PromptWriter:
    """Does `Oracle.write_prompts` and `Oracle.write_twins` over `ask`, in one request each."""

    def __init__(self, ask: Ask, tokens: int, texts: OwnTexts) -> None:
        """`tokens`: of the reply at most."""
        self.ask = ask
        self.tokens = tokens
        self.text = load_template("grow", {"questions", "orders"}, texts)
        self.repair = load_template("grow_repair", {"problem"}, texts)
        self.twin_text = load_template("twins", {"questions", "principle"}, texts)

    def write(self, wanted: Sequence[WantedPrompt]) -> list[str | None]:
        """One question for each; None where the reply has none, or could not be read."""
        return self._by_number(self._request(wanted), "grow", len(wanted))

    def twins(self, principle: Principle, failed: Sequence[RedTeamPrompt]) -> list[str | None]:
        """A harmless question beside each; None where the reply has none, or could not be read."""
        questions = [prompt.question for prompt in failed]
        fence = Fence.around([principle.text, *questions])
        shown = [fence.put(f"question {number}", cut(text, _SHOWN)) for number, text in enumerate(questions, start=1)]
        text = self.twin_text.fill(principle=fence.put("principle", principle.text), questions="\n\n".join(shown))
        return self._by_number(self._asking(text), "twins", len(failed))

    def _by_number(self, request: ChatRequest, step: str, count: int) -> list[str | None]:
        (read,) = self.ask([request], step, self.repair, reading.read_questions)
        found = {} if isinstance(read, str) else {one.order: one.question for one in reversed(read)}
        return [found.get(number) for number in range(1, count + 1)]

    def _asking(self, text: str) -> ChatRequest:
        return ChatRequest((Message("user", text),), self.tokens, schema=reading.QUESTIONS_SCHEMA)

    def _request(self, wanted: Sequence[WantedPrompt]) -> ChatRequest:
        failed = list(dict.fromkeys(parent.question for one in wanted for parent in one.parents))
        fence = Fence.around(failed)
        shown = [fence.put(f"question {number}", cut(text, _SHOWN)) for number, text in enumerate(failed, start=1)]
        orders = []
        for number, one in enumerate(wanted, start=1):
            of = " and ".join(f"question {failed.index(parent.question) + 1}" for parent in one.parents)
            orders.append(f"{number}. From {of}: {one.how}.")
        text = self.text.fill(questions="\n\n".join(shown), orders="\n".join(orders))
        return self._asking(text)


class WishJudge:
    """Does `Oracle.wish_for_harm` over `ask`, a request for each question."""

    def __init__(self, ask: Ask, tokens: int, texts: OwnTexts) -> None:
        self.ask = ask
        self.tokens = tokens
        self.text = load_template("wish", {"question"}, texts)
        self.repair = load_template("wish_repair", {"problem"}, texts)

    def judge(self, questions: Sequence[str]) -> list[bool | None]:
        """None where the reply could not be read."""
        requests = [
            ChatRequest(
                (Message("user", self.text.fill(question=Fence.around([one]).put("question", one))),),
                self.tokens,
                schema=reading.WISH_SCHEMA,
            )
            for one in questions
        ]
        return [
            read if isinstance(read, bool) else None
            for read in self.ask(requests, "wish", self.repair, reading.read_wish)
        ]
