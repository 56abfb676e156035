"""Pools of prompts in which failures are planted, and targets that fail there: what benchmarks/redteam.py draws from."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from iteralign.data import load_prompts
from iteralign.records import RedTeamPrompt
from iteralign.redteam.pool import stems

BACKGROUND = 0.004
"""How often the target fails outside of all regions."""
FRAMES = (
    "How can I {}?", "What is the best way to {}?", "Tell me how to {}.", "Explain how someone would {}.", "I want to {}.",
    "Write a guide to {}.", "Is there a trick to {}?", "My friend asked me to {}, help.", "Steps to {}, please.",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A prompt of a pool, with what no order is told."""

    prompt: RedTeamPrompt
    intent: str
    """Paraphrases have one."""
    regions: tuple[str, ...]
    """The regions that it would lie in."""


@dataclass(frozen=True)
class World:
    """What is planted, and what becomes of it."""

    kind: str
    """Whose regions fail: topic, word, category, near (what is like a question letter by letter), or both (topic, category)."""
    regions: int
    learnt: float = 0.6
    """A region's chance to fail after a training on one of its failures, as a share of what it was."""
    moves: float = 0.0
    """How likely another region begins to fail when one is learnt."""
    chance: float = 0.8
    """That a prompt of a region fails."""
    per_topic: int = 8
    """Intents of a topic."""


TUNED = {
    "topics, learnt": World("topic", 8),
    "topics, not learnt": World("topic", 8, learnt=1.0),
    "topics, hardly": World("topic", 8, chance=0.4, learnt=0.8),
}
REPORTED = {
    "rare topics": World("topic", 5, per_topic=5, learnt=0.5),
    "words across categories": World("word", 6),
    "categories and topics": World("both", 6, learnt=0.7),
    "topics that move": World("topic", 6, learnt=0.5, moves=0.5),
    "never learnt": World("word", 6, learnt=1.0),
}


def made_up(per_topic: int, draw: random.Random) -> list[Item]:
    """1,800 questions or so: categories of topics of intents, an intent in one to four wordings, sorted by category."""
    letters = "bcdfghklmnprstvz"

    def word() -> str:
        return "".join(draw.choice(letters) + draw.choice("aeiou") for _ in range(3))

    common, across = [word() for _ in range(60)], [f"{word()}x" for _ in range(60)]
    items: list[Item] = []
    for c in range(20):
        of_category = [word() for _ in range(6)]
        for t in range(5):
            of_topic = [word() for _ in range(7)]
            for i in range(draw.randint(per_topic // 2, per_topic * 3 // 2)):
                core = [*draw.sample(of_topic, 3), draw.choice(of_category), *draw.sample(common, 2)]
                marked = [draw.choice(across)] if draw.random() < 0.5 else []
                for _ in range(draw.choice((1, 1, 2, 4))):
                    said = [*draw.sample(core, 5), *marked, draw.choice(common)]
                    draw.shuffle(said)
                    items.append(
                        Item(
                            RedTeamPrompt(
                                id=f"p{len(items)}",
                                question=draw.choice(FRAMES).format(" ".join(said)),
                                category=f"c{c}",
                            ),
                            intent=f"{c}.{t}.{i}",
                            regions=(f"topic {c}.{t}", f"category {c}", *(f"word {one}" for one in marked)),
                        )
                    )
    return items


class SimulatedTarget:
    """Which prompts fail now, and what a training changes."""

    def __init__(self, items: Sequence[Item], world: World, draw: random.Random) -> None:
        self.world, self.draw = world, draw
        names = sorted({name for item in items for name in item.regions})
        size = {name: sum(name in item.regions for item in items) for name in names}
        kinds = ("topic", "category") if world.kind == "both" else (world.kind,)
        self.others = [name for name in names if name.split()[0] in kinds and size[name] >= 4]
        draw.shuffle(self.others)
        if world.kind == "both":  # one broad failure among rare ones
            self.others.sort(key=lambda name: name.startswith("category"))
            self.others.insert(0, self.others.pop())
        self.failing = {name: world.chance for name in self.others[: world.regions]}
        self.others = self.others[world.regions :]
        self.planted = set(self.failing)

    def chance(self, item: Item) -> float:
        """That this prompt fails now."""
        return max([BACKGROUND, *(self.failing.get(name, 0.0) for name in item.regions)])

    def train(self, failed: Sequence[Item]) -> None:
        """Each failure makes its regions fail less."""
        for item in failed:
            for name in item.regions:
                if name in self.failing:
                    before = self.failing[name]
                    self.failing[name] *= self.world.learnt
                    if before > 0.1 >= self.failing[name] and self.others and self.draw.random() < self.world.moves:
                        self.failing[self.others.pop()] = self.world.chance


REAL = {
    "HarmfulQA: subtopics": World("topic", 5),
    "HarmfulQA: words": World("word", 5),
    "HarmfulQA: neighbours": World("near", 5),
    "Do-Not-Answer: words": World("word", 5),
    "Do-Not-Answer: neighbours": World("near", 5),
}


def asked(name: str, data: Path) -> list[Item]:
    """A published set. Its topics are what the orders are told; subtopics, words and neighbours are not."""
    if name.startswith("HarmfulQA"):
        prompts = load_prompts("harmfulqa", data / "harmfulqa.json")
        kinds = [(prompt.category or "").split(" / ") for prompt in prompts]
    else:
        prompts = load_prompts(str(data / "do_not_answer.json"))
        kinds = [[prompt.category or "", ""] for prompt in prompts]
    words = [set(stems(prompt.question)) for prompt in prompts]
    common = Counter(word for said in words for word in said)
    near = _neighbours([prompt.question for prompt in prompts])
    return [
        Item(
            prompt.model_copy(update={"id": f"p{number}", "category": kind[0]}),
            intent=f"{number}",
            regions=(
                *([f"topic {kind[1]}"] if kind[1] else []),
                *(f"word {word}" for word in sorted(said) if 10 <= common[word] <= 40),
                *(f"near {one}" for one in near[number]),
            ),
        )
        for number, (prompt, kind, said) in enumerate(zip(prompts, kinds, words, strict=True))
    ]


def _neighbours(texts: Sequence[str], around: int = 60, size: int = 15) -> list[list[int]]:
    """By text, which of some chosen questions it is one of the nearest of, by the pieces of three letters in common."""
    pieces = [{text.lower()[n : n + 3] for n in range(len(text) - 2)} for text in texts]
    found: list[list[int]] = [[] for _ in texts]
    for middle in random.Random(0).sample(range(len(texts)), around):
        likeness = [len(pieces[middle] & one) / len(pieces[middle] | one) for one in pieces]
        for place in sorted(range(len(texts)), key=lambda place: -likeness[place])[:size]:
            found[place].append(middle)
    return found


def pool_of(name: str, world: World, seed: int, data: Path | None) -> list[Item]:
    """A new one for each draw, or a published set."""
    if name in REAL:
        assert data is not None
        return _asked_once(name.partition(":")[0], data)
    return _made_once(world.per_topic, seed)


@cache
def _made_once(per_topic: int, seed: int) -> list[Item]:
    return made_up(per_topic, random.Random(f"pool {seed}"))


@cache
def _asked_once(name: str, data: Path) -> list[Item]:
    return asked(name, data)
