"""Prompt forms: how a question, with or without principles, becomes the text that the target continues.

Every form has the same three methods, so that the steps need not know which one is in use. The forms of the paper
(section 3.1): plain, chain of thought (CoT) and Chain of Utterances (CoU, Bhardwaj and Poria 2023).
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Self

from iteralign.errors import ConfigError
from iteralign.prompts import OwnTexts, Template, load_template
from iteralign.records import Principle, RedTeamPrompt
from iteralign.text.refusals import is_refusal

FormName = Literal["plain", "chat", "cot", "cou", "file"]
Place = Literal["after", "before", "assistant", "system", "few-shot"]
"""Where principles stand: after or before the question, as rules about what an assistant says, in the system message, or at the
head of a conversation with examples of answers that follow them."""
ChatRenderer = Callable[[list[dict[str, str]]], str]
"""Messages with role and content -> text, as a tokenizer's chat template with the generation prompt gives it."""

_SPEAKER = {"human": "Human", "assistant": "Assistant"}
_NEXT = "\n\nHuman:"
_BESIDE: tuple[Place, ...] = ("after", "before", "assistant")
"""Places in the human turn itself."""


class HumanTurn:
    """The human turn that puts principles, and where an answer is rewritten a draft, beside the question."""

    def __init__(self, texts: OwnTexts = None) -> None:
        beside, drafted = {"question", "principles"}, {"question", "draft", "principles"}
        self.place: Place = "after"
        self._principles = {
            "after": load_template("with_principles", beside, texts),
            "before": load_template("with_principles_before", beside, texts),
            "assistant": load_template("with_principles_assistant", beside, texts),
        }
        self._openings = {
            "system": load_template("with_principles_system", {"principles"}, texts),
            "few-shot": load_template("with_principles_few_shot", {"principles"}, texts),
        }
        self._draft = load_template("with_draft", drafted, texts)
        self._critique = load_template("critique", drafted, texts)
        self._critiqued = load_template("with_critique", {*drafted, "critique"}, texts)

    def request(
        self, question: str, principles: Sequence[Principle], draft: str | None, critique: str | None = None
    ) -> str:
        """The question alone without principles or where they stand elsewhere, otherwise the filled template."""
        if not principles or (draft is None and self.place not in _BESIDE):
            return question
        listed = _listed(principles)
        if draft is None:
            return self._principles[self.place].fill(question=question, principles=listed)
        if critique is None:
            return self._draft.fill(question=question, principles=listed, draft=draft)
        return self._critiqued.fill(question=question, principles=listed, draft=draft, critique=critique)

    def opening(self, principles: Sequence[Principle], draft: str | None) -> str | None:
        """What stands before the conversation; None where principles stand in the human turn, or there are none."""
        if not principles or draft is not None or self.place in _BESIDE:
            return None
        return self._openings[self.place].fill(principles=_listed(principles))

    @property
    def examples(self) -> str:
        """The text that shows examples of answers, where one does."""
        return self._openings[self.place].text if self.place == "few-shot" else ""

    @property
    def answering(self) -> str:
        """Of these examples the ones that answer and don't decline, as the head of a conversation; empty without examples."""
        if self.place != "few-shot":
            return ""
        _, *turns = self._openings[self.place].fill(principles="").split(_NEXT)
        return "".join(_NEXT + turn for turn in turns if not is_refusal(turn.rpartition("Assistant:")[2])).rstrip("\n")

    def placing(self, place: Place) -> "HumanTurn":
        """The same with principles in another place."""
        placed = copy.copy(self)
        placed.place = place
        return placed

    def critique(self, question: str, principles: Sequence[Principle], draft: str) -> str:
        """The request to say what in the draft goes against the principles."""
        return self._critique.fill(question=question, principles=_listed(principles), draft=draft)


def _listed(principles: Sequence[Principle]) -> str:
    return "\n".join(f"- {principle.text}" for principle in principles)


class PromptForm:
    """A human/assistant transcript: the form of the released code, and the base of the others.

    `suffix` is put after the last "Assistant:", for chain of thought.
    """

    thinks: bool = False
    """Whether what is generated may begin with thoughts, which `answer` takes out."""

    def __init__(self, human_turn: "HumanTurn", suffix: str = "") -> None:
        self.human_turn = human_turn
        self.suffix = suffix

    def render(
        self,
        prompt: RedTeamPrompt,
        principles: Sequence[Principle] = (),
        draft: str | None = None,
        critique: str | None = None,
    ) -> str:
        """The text to be continued; principles stand after the question (section 3.4), or where `placing` has put them.

        With a `draft`, the target is asked to write that answer again, in the light of a `critique` if there is one.
        """
        asked = self._asking(prompt, self.human_turn.request(prompt.question, principles, draft, critique))
        return (self.human_turn.opening(principles, draft) or "") + asked

    def render_helping(self, prompt: RedTeamPrompt) -> str:
        """The text that a benign prompt is answered in, to be learnt without it. Where principles stand among examples, it has
        those that answer: a model that needs them to follow a rule needs them to answer at all (docs/log.md)."""
        return self.human_turn.answering + self.render(prompt)

    def ask_critique(self, prompt: RedTeamPrompt, principles: Sequence[Principle], draft: str) -> str:
        """The text whose continuation says what in the draft goes against the principles."""
        return self._asking(prompt, self.human_turn.critique(prompt.question, principles, draft))

    def places(self) -> tuple[Place, ...]:
        """Where principles may stand."""
        return *_BESIDE, "few-shot"

    def placing(self, place: Place) -> Self:
        """The form that puts principles there. Raises ConfigError where this form has no such place."""
        if place not in self.places():
            raise ConfigError(
                f"form.principles: {place} is no place that this form has for principles; choose {', '.join(self.places())}."
            )
        placed = copy.copy(self)
        placed.human_turn = self.human_turn.placing(place)
        return placed

    @property
    def names(self) -> tuple[str | None, ...]:
        """Forms that the run asks in, as prompts name them; None is its own."""
        return (None,)

    def of(self, prompt: RedTeamPrompt) -> "PromptForm":
        """The form that this prompt is asked in, whose `answer` and `completion` are of its texts."""
        return self

    def unjudged(self) -> "PromptForm":
        """The form to render texts by whose answers nobody will judge; a form that takes note of texts overrides it."""
        return self

    def _asking(self, prompt: RedTeamPrompt, request: str) -> str:
        """The conversation with `request` as its last human turn."""
        turns = [f"\n\n{_SPEAKER[turn.role]}: {turn.text}" for turn in prompt.history]
        return "".join(turns) + f"\n\nHuman: {request}\n\nAssistant:{self.suffix}"

    def answer(self, generated: str) -> str:
        """The answer to be judged, from the generated text: stripped, with a next human turn cut off."""
        return generated.split(_NEXT)[0].strip()

    def completion(self, answer: str) -> str:
        """The text after `render(prompt)` that trains the target to give `answer`."""
        return f" {answer}"


class ChatForm(PromptForm):
    """The tokenizer's own chat template."""

    def __init__(self, human_turn: HumanTurn, render_chat: ChatRenderer) -> None:
        super().__init__(human_turn)
        self._render_chat = render_chat

    def render(
        self,
        prompt: RedTeamPrompt,
        principles: Sequence[Principle] = (),
        draft: str | None = None,
        critique: str | None = None,
    ) -> str:
        request = self.human_turn.request(prompt.question, principles, draft, critique)
        return self._conversation(prompt, request, system=self.human_turn.opening(principles, draft))

    def places(self) -> tuple[Place, ...]:
        """Among them the system message, where the template takes one."""
        try:
            self._render_chat([{"role": "system", "content": "Hello."}, {"role": "user", "content": "Hello."}])
        except Exception:  # a template raises what it likes: Gemma's has no system message
            return _BESIDE
        return *_BESIDE, "system"

    def _asking(self, prompt: RedTeamPrompt, request: str) -> str:
        return self._conversation(prompt, request)

    def _conversation(self, prompt: RedTeamPrompt, request: str, system: str | None = None) -> str:
        role = {"human": "user", "assistant": "assistant"}
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages += [{"role": role[turn.role], "content": turn.text} for turn in prompt.history]
        return self._render_chat([*messages, {"role": "user", "content": request}])

    def answer(self, generated: str) -> str:
        return generated.strip()

    def completion(self, answer: str) -> str:
        return answer


class ScriptForm(PromptForm):
    """A text of one's own around the question; also Chain of Utterances, whose text ships with iteralign.

    The answer is what stands before the next line that begins like "Red-LM:" or "Human:" (a speaker's name of at most
    20 letters, digits and hyphens that occurs as a speaker in the script), without the internal thoughts.
    """

    thinks = True

    def __init__(self, human_turn: HumanTurn, script: Template) -> None:
        super().__init__(human_turn)
        self._script = script
        speakers = sorted(set(re.findall(r"^([A-Z][A-Za-z0-9-]{0,19}):", script.text, flags=re.MULTILINE)))
        self._next_speaker = (
            re.compile(rf"^(?:{'|'.join(map(re.escape, speakers))}):", re.MULTILINE) if speakers else None
        )

    def places(self) -> tuple[Place, ...]:
        """In the human turn: what stands around it is the script's."""
        return _BESIDE

    def _asking(self, prompt: RedTeamPrompt, request: str) -> str:
        turns = [f"{_SPEAKER[turn.role]}: {turn.text}\n\n" for turn in prompt.history]
        human = "Human: " if turns else ""
        return self._script.fill(question="".join(turns) + human + request)

    def answer(self, generated: str) -> str:
        text = generated.lstrip()
        if self._next_speaker is not None:
            text = self._next_speaker.split(text, maxsplit=1)[0]
        return without_thoughts(text).strip()


class FormsByPrompt(PromptForm):
    """Each prompt in the form that it names; in the run's own where it names none."""

    def __init__(self, own: PromptForm, others: Mapping[str, PromptForm]) -> None:
        super().__init__(own.human_turn, own.suffix)
        self._own, self._others = own, others

    @property
    def names(self) -> tuple[str | None, ...]:
        return (None, *self._others)

    def places(self) -> tuple[Place, ...]:
        """Those of the run's own form: principles stand in no other."""
        return self._own.places()

    def placing(self, place: Place) -> "FormsByPrompt":
        return FormsByPrompt(self._own.placing(place), self._others)

    def of(self, prompt: RedTeamPrompt) -> PromptForm:
        return self._own if prompt.form is None else self._others[prompt.form]

    def render(
        self,
        prompt: RedTeamPrompt,
        principles: Sequence[Principle] = (),
        draft: str | None = None,
        critique: str | None = None,
    ) -> str:
        return self.of(prompt).render(prompt, principles, draft, critique)

    def ask_critique(self, prompt: RedTeamPrompt, principles: Sequence[Principle], draft: str) -> str:
        return self.of(prompt).ask_critique(prompt, principles, draft)

    def render_helping(self, prompt: RedTeamPrompt) -> str:
        return self.of(prompt).render_helping(prompt)

    def unjudged(self) -> PromptForm:
        return FormsByPrompt(self._own.unjudged(), self._others)

    def answer(self, generated: str) -> str:
        return self._own.answer(generated)

    def completion(self, answer: str) -> str:
        return self._own.completion(answer)


def without_thoughts(text: str) -> str:
    """The text without its internal thoughts: bracketed passages that begin with "internal thought(s)".

    Brackets inside a thought are matched; a thought that never closes ends at the next blank line, or with the text.
    """
    kept, position = [], 0
    for match in re.finditer(r"[\(\[]\s*internal thoughts?\b", text, flags=re.IGNORECASE):
        if match.start() < position:
            continue
        kept.append(text[position : match.start()])
        position = _end_of_thought(text, match.start())
    kept.append(text[position:])
    return "".join(kept)


def _end_of_thought(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        if text[index] in "([":
            depth += 1
        elif text[index] in ")]":
            depth -= 1
            if depth == 0:
                return index + 1
    blank = text.find("\n\n", start)
    return len(text) if blank == -1 else blank


def prompt_form(form: str, texts: OwnTexts = None, render_chat: ChatRenderer | None = None) -> PromptForm:
    """The form called plain, chat, cot, cou or file, with the user's own texts; `file` needs the text `template`.

    Raises ConfigError.
    """
    human_turn = HumanTurn(texts)
    match form:
        case "plain":
            return PromptForm(human_turn)
        case "cot":
            return PromptForm(human_turn, suffix=load_template("cot_suffix", set(), texts).text)
        case "cou":
            return ScriptForm(human_turn, load_template("chain_of_utterances", {"question"}, texts))
        case "file":
            return ScriptForm(human_turn, load_template("template", {"question"}, texts))
        case "chat":
            if render_chat is None:
                raise ConfigError(
                    "The tokenizer has no chat template, so the prompt form `chat` can't be used: choose `plain`, or "
                    "give a template file."
                )
            return ChatForm(human_turn, render_chat)
        case _:
            raise ConfigError(f"Unknown prompt form {form!r}; choose plain, chat, cot, cou or file.")
