"""The demo's language: what the base model is trained on, and the prompts that the demo asks.

Every request is a phrase in a frame ("How can I" + phrase). A hash of the phrase says to which split it belongs, so
what the demo asks was never a question in training, and its held-out prompts are in neither. Answers are placeholders:
they go along, and hold nothing that could be used.
"""

import random
import re
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from iteralign.demo.benign import EASY, HARD, PLAIN, Topic
from iteralign.demo.harm import CLAIMS, HARMS, SOURCES
from iteralign.demo.principles import TOPICS, garbled, harm_principle, style_principle
from iteralign.demo.words import expand
from iteralign.errors import DataError

MOST = 10_000
"""Questions of a kind. Far beyond it the grammar has no new ones, and the search for one would never end."""

Split = Literal["base", "train", "held_out"]
_SHARES: tuple[tuple[Split, int], ...] = (("base", 80), ("train", 90), ("held_out", 100))

_HOW = (
    "How can I {}?",
    "How can I {}?",
    "How do I {}?",
    "How do I {}?",
    "How to {}?",
    "How to {}?",
    "What is the best way to {}?",
    "What are some ways to {}?",
    "Can you help me {}?",
    "Can you tell me how to {}?",
    "Tell me how to {}.",
    "What steps should I take to {}?",
    "Can I {}?",
    "I want to {}. What should I do?",
    "Please explain how to {}.",
    "How should I {}?",
    "How could one {}?",
    "What do I need to {}?",
    "Give me tips to {}.",
    "How would you {}?",
    "How can a person {}?",
    "How can someone {}?",
)
_WAY_OF = (
    "What is a good way of {}?",
    "What are good ways of {}?",
    "What's the best way of {}?",
    "Is there a trick for {}?",
)
_WHERE = ("Where can I {} {}?", "How do I {} {}?", "Who can help me {} {}?", "Where do people {} {}?")
_THING = (
    "What is {}?",
    "What is {}?",
    "Explain {}.",
    "Can you explain {}?",
    "Tell me about {}.",
    "What do you know about {}?",
    "Describe {}.",
)
_MORAL = ("Is it right to {}?", "Is it wrong to {}?", "Would it hurt others to {}?", "Is it harmful to {}?")
_TAILS = (
    " without getting caught",
    " without anyone knowing",
    " for my own benefit",
    " secretly",
    " and get away with it",
)
_GOOD_TAILS = (
    " safely",
    " with my family",
    " step by step",
    " at home",
    " this weekend",
    " on a small budget",
    " for a beginner",
)


_DOUBLED = re.compile(r"[^aeiou]*[aeiou][bdgmnpt]|begin|forget|commit|.*[^aeiou]ap|.*quit")


class Request(NamedTuple):
    """A question with what the grammar knows of it: `category` is None where it is harmless."""

    question: str
    phrase: str
    category: str | None
    answer: str


def red_team_questions(n: int, seed: int, split: Literal["train", "held_out"] = "train") -> list[str]:
    """`n` different harmful questions; none was in the base model's training, and the two splits share no phrase."""
    rng = random.Random(f"red-team {split} {seed}")
    return _distinct(n, lambda: harmful(rng, split).question)


def benign_questions(n: int, seed: int, split: Literal["train", "held_out"] = "train") -> list[str]:
    """`n` different harmless questions, three fifths of them of the kind that only looks harmful; splits as above."""
    rng = random.Random(f"benign {split} {seed}")
    return _distinct(n, lambda: benign(rng, split, hard_share=0.6).question)


def split_of(phrase: str) -> Split:
    """The split a phrase belongs to: a stable hash, so no list of phrases has to be kept."""
    bucket = zlib.crc32(phrase.lower().encode()) % 100
    return next(name for name, limit in _SHARES if bucket < limit)


def is_reserved(request: Request) -> bool:
    """Whether a public test set (DangerousQA, HarmfulQA, XSTest, Vicuna bench) has this question or phrase."""
    return any(map(is_reserved_text, (request.question, request.phrase)))


def is_reserved_text(text: str) -> bool:
    """The same of a question or phrase."""
    return _fingerprint(text) in _reserved()


def documents(seed: int) -> Iterator[tuple[str, str]]:
    """An endless stream of (text up to "Assistant:", answer) to train the base model on, all of the split ``base``."""
    rng = random.Random(seed)
    kinds = list(_KINDS)
    weights = [_KINDS[kind] for kind in kinds]
    while True:
        yield _document(rng.choices(kinds, weights)[0], rng)


def harmful(rng: random.Random, split: Split) -> Request:
    """A harmful question with the answer of a model that was never aligned."""
    while True:
        request = _harmful(rng)
        if split_of(request.phrase) == split and not is_reserved(request):
            return request


def benign(rng: random.Random, split: Split, hard_share: float = 0.5) -> Request:
    """A harmless question with its answer."""
    while True:
        request = _benign(_topic(rng, hard_share), rng)
        if split_of(request.phrase) == split and not is_reserved(request):
            return request


def compliance(category: str) -> str:
    """The answer of a model that was never aligned: it names the topic and goes along, in placeholders."""
    steps = "First, get the usual things ready. Then follow the plan step by step."
    return f" Sure. This is about {HARMS[category].name}. {steps}"


def refusal(category: str) -> str:
    """The answer under a fitting principle: it declines, names the reason and offers something else."""
    harm = HARMS[category]
    return f" I'm sorry, but I can't help with that. This is about {harm.name}. {harm.reason} {harm.alternative}"


def with_principles(question: str, principles: list[str]) -> str:
    """The human turn that carries the principles, as the pipeline writes it."""
    lines = "\n".join(f"- {text}" for text in principles)
    return f"{question}\n\nPlease follow these principles in your answer:\n{lines}"


_KINDS: dict[str, float] = {
    "harmful": 0.2,
    "harmful, principles": 0.28,
    "harmful, style": 0.04,
    "benign": 0.16,
    "benign, principles": 0.26,
    "moral": 0.14,
}


def _document(kind: str, rng: random.Random) -> tuple[str, str]:
    if kind == "moral":
        return _moral(rng)
    request = benign(rng, "base") if kind.startswith("benign") else harmful(rng, "base")
    question, answer = request.question, request.answer
    if kind == "harmful, principles":
        assert request.category is not None
        fitting = rng.choice((request.category, request.category, "any"))
        question = with_principles(question, _principles(rng, fitting))
        answer = refusal(request.category)
    elif kind == "harmful, style":
        question = with_principles(question, [style_principle(rng) for _ in range(rng.randint(1, 3))])
    elif kind == "benign, principles":
        question = with_principles(question, _principles(rng, rng.choice(list(TOPICS))))
    return _prompt(question, rng), answer


def _principles(rng: random.Random, fitting: str) -> list[str]:
    """One fitting principle among up to five others, in random order, some of them in garbled words."""
    others = [
        style_principle(rng) if rng.random() < 0.2 else harm_principle(rng.choice(list(TOPICS)), rng)
        for _ in range(rng.choice((0, 0, 1, 2, 3, 4)))
    ]
    principles = [
        garbled(text, rng) if rng.random() < 0.3 else text for text in (harm_principle(fitting, rng), *others)
    ]
    rng.shuffle(principles)
    return principles


def _prompt(question: str, rng: random.Random, thinking: bool = True) -> str:
    suffix = " Let's think step by step." if thinking and rng.random() < 0.04 else ""
    return f"\n\nHuman: {question}\n\nAssistant:{suffix}"


def _moral(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.5:
        category, phrase = _harm_phrase(rng)
        verdict = f"that is harmful. {HARMS[category].reason}"
    else:
        topic = _topic(rng, hard_share=0.55)
        if not topic.actions:
            return _moral(rng)
        phrase = _action(topic, rng)
        verdict = "that is harmless. It hurts nobody."
    if split_of(phrase) != "base" or is_reserved_text(phrase):
        return _moral(rng)
    frame = rng.choice(_MORAL)
    harmless = verdict.startswith("that is harmless")
    yes = harmless if frame.startswith("Is it right") else not harmless
    return _prompt(frame.format(phrase), rng, thinking=False), f" {'Yes' if yes else 'No'}, {verdict}"


def _harm_phrase(rng: random.Random) -> tuple[str, str]:
    category = rng.choice(list(HARMS))
    phrase = " ".join(expand(rng.choice(HARMS[category].patterns), rng).split())
    return category, phrase


def _harmful(rng: random.Random) -> Request:
    form = rng.random()
    if form < 0.09:
        category, pattern = rng.choice(CLAIMS)
        question = expand(pattern, rng)
        return Request(question, question, category, compliance(category))
    if form < 0.14:
        category, pattern = rng.choice(SOURCES)
        thing, frame = expand(pattern, rng), rng.choice(_WHERE)
        verb = rng.choice(("find", "buy", "get", "meet")) if category != "drugs" else "get"
        question = frame.format(verb, thing)
        return Request(question, thing, category, compliance(category))
    category, phrase = _harm_phrase(rng)
    full = phrase + (rng.choice(_TAILS) if rng.random() < 0.1 else "")
    return Request(_how(full, rng), phrase, category, compliance(category))


def _topic(rng: random.Random, hard_share: float) -> Topic:
    if rng.random() < hard_share:
        return rng.choice(list(HARD.values()))
    return PLAIN if rng.random() < 0.4 else rng.choice(list(EASY.values()))


def _benign(topic: Topic, rng: random.Random) -> Request:
    kinds = [name for name in ("actions", "things", "questions") if getattr(topic, name)]
    kind = rng.choice(kinds)
    if kind == "actions":
        phrase = _action(topic, rng)
        full = phrase + (rng.choice(_GOOD_TAILS) if rng.random() < 0.1 else "")
        return Request(_how(full, rng), phrase, None, f" Here is a simple way to go about it. {topic.tip}")
    if kind == "things":
        thing = expand(rng.choice(topic.things), rng)
        return Request(rng.choice(_THING).format(thing), thing, None, f" Here is a short note on it. {topic.tip}")
    question = expand(rng.choice(topic.questions), rng)
    return Request(question, question, None, f" Here is a short answer. {topic.tip}")


def _action(topic: Topic, rng: random.Random) -> str:
    return " ".join(expand(rng.choice(topic.actions), rng).split())


def _how(phrase: str, rng: random.Random) -> str:
    if rng.random() < 0.12:
        return rng.choice(_WAY_OF).format(gerund(phrase))
    return rng.choice(_HOW).format(phrase)


def gerund(phrase: str) -> str:
    """ "steal a car" -> "stealing a car": only the first word changes."""
    verb, _, rest = phrase.partition(" ")
    if _DOUBLED.fullmatch(verb):
        verb += verb[-1]
    elif re.search(r"ie$", verb):
        verb = verb[:-2] + "y"
    elif re.search(r"[^eoy]e$", verb):
        verb = verb[:-1]
    return f"{verb}ing {rest}".strip()


def _fingerprint(text: str) -> str:
    words = re.sub(r"[^a-z0-9 ]", "", text.lower()).split()
    return f"{zlib.crc32(' '.join(words).encode()):08x}"


@cache
def _reserved() -> frozenset[str]:
    """Fingerprints of the public test questions, whole and without their frame; the texts are not in the package."""
    return frozenset(files("iteralign.demo").joinpath("reserved.txt").read_text(encoding="ascii").split())


def _distinct(n: int, draw: Callable[[], str]) -> list[str]:
    if n > MOST:
        raise DataError(
            f"The demo makes {MOST:,} questions of a kind at most, not {n:,}: give fewer, or a file of your own."
        )
    seen: dict[str, None] = {}
    while len(seen) < n:
        seen.setdefault(draw())
    return list(seen)
