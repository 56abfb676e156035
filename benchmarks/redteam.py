"""Orders of a run's prompts side by side, on simulated targets whose failures are planted:

    python benchmarks/redteam.py [--draws 300] [--data DIR] [--tune SECONDS] [-o results.json]

A draw of a world plants regions of the pool in which the target fails: a topic, a word, a whole category, what is near a
question. Each round that failed trains it, by which a region fails less, and in some worlds another begins to. The orders are
the package's own (`iteralign.redteam`), and epsilon-greedy over categories as in PyRIT's adaptive scenarios. All judge equally
many answers, so equally many tokens of an oracle. A distinct failure is one of another intent: paraphrases of a question count
once.

Settings were chosen by `--tune` on the worlds of TUNED alone; the table is of the others. With `--data` (a directory with
harmfulqa.json and do_not_answer.json) regions are planted in real questions, too; no order is told of them.
"""

import argparse
import json
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from iteralign.data import load_prompts
from iteralign.records import Checkpoint, Draw, Label, RedTeamPrompt, Response, Verdict
from iteralign.redteam.chances import Weighing
from iteralign.redteam.orders import FileOrder, Groups, KeepDraws, Order, Seeking, Shuffled, groups_of
from iteralign.redteam.pool import stems
from iteralign.redteam.rates import weighted
from iteralign.settings.redteam import RedTeamSettings
from iteralign.stats.intervals import bootstrap
from iteralign.stats.weighted import weighted_rate

SIZE = 20
RATED = 200  # draws
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


class EpsilonGreedy(Order):
    """The category that failed most often so far, or with some probability any; never asked ones are tried first."""

    def __init__(self, prompts: Sequence[RedTeamPrompt], rounds: int, epsilon: float, seed: int) -> None:
        super().__init__(rounds)
        self.epsilon, self.random = epsilon, random.Random(seed)
        self.left: dict[str, list[RedTeamPrompt]] = {}
        for prompt in prompts:
            self.left.setdefault(prompt.category or "", []).append(prompt)
        self.counts = {name: [0, 0] for name in self.left}

    def coming(self, number: int, weights: Checkpoint, keep: KeepDraws) -> Groups:
        chosen: list[RedTeamPrompt] = []
        while len(chosen) < SIZE and any(self.left.values()):
            arms = [name for name, prompts in self.left.items() if prompts]
            if self.random.random() >= self.epsilon:
                rate = {
                    name: self.counts[name][1] / self.counts[name][0] if self.counts[name][0] else 1.0 for name in arms
                }
                arms = [name for name in arms if rate[name] == max(rate.values())]
            left = self.left[self.random.choice(arms)]
            chosen.append(left.pop(self.random.randrange(len(left))))
        return [chosen]

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            count = self.counts[verdict.response.prompt.category or ""]
            count[0] += 1
            count[1] += verdict.label == "unacceptable"


@dataclass
class Found:
    """What a run found."""

    distinct: list[int]
    """Distinct failures after each round."""
    regions: list[float]
    """Share of the regions planted at the start in which a failure was found, after each round."""
    draws: list[tuple[Draw, bool]]
    rates: list[float]
    """At each draw, the share of the unasked that would have failed."""
    seconds: float


class AllKnowing(Order):
    """What is likeliest to fail now, and of each intent one wording first: no order can find much more."""

    def __init__(self, items: Sequence[Item], rounds: int) -> None:
        super().__init__(rounds)
        self.left = list(items)
        self.known: Callable[[Item], float] = lambda item: 0.0
        """The chance of each to fail, from who plants the failures."""
        self.failed = set[str]()

    def coming(self, number: int, weights: Checkpoint, keep: KeepDraws) -> Groups:
        first, further, seen = list[Item](), list[Item](), set(self.failed)
        for item in sorted(self.left, key=lambda item: -self.known(item)):
            (further if item.intent in seen else first).append(item)
            seen.add(item.intent)
        chosen, self.left = (first + further)[:SIZE], (first + further)[SIZE:]
        self.asked = {item.prompt.id: item.intent for item in chosen}
        return [[item.prompt for item in chosen]]

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        self.failed |= {self.asked[v.response.prompt.id] for v in verdicts if v.label == "unacceptable"}


def simulate(items: Sequence[Item], world: World, order: Order, seed: int, rounds: int, rated: bool = False) -> Found:
    """A run of so many rounds."""
    draw = random.Random(f"target {seed}")
    target = SimulatedTarget(items, world, draw)
    if isinstance(order, AllKnowing):
        order.known = target.chance
    by_id = {item.prompt.id: item for item in items}
    left = dict(by_id)
    weights = Checkpoint(kind="base", path="base")
    intents, met = set[str](), set[str]()
    found = Found([], [], [], [], 0.0)
    for number in range(rounds):
        kept: list[Draw] = []

        def keep(stage: str, step: Callable[[], list[Draw]], kept: list[Draw] = kept) -> list[Draw]:
            kept += step()
            return kept

        begin = time.perf_counter()
        group = order.coming(number, weights, keep)[0]
        found.seconds += time.perf_counter() - begin
        failed, verdicts = list[Item](), list[Verdict]()
        chances = {name: target.chance(item) for name, item in left.items()} if rated else {}
        total = sum(chances.values())
        for place, prompt in enumerate(group):
            item = by_id[prompt.id]
            fails = draw.random() < target.chance(item)
            if fails:
                failed.append(item)
            if rated and kept:
                found.draws.append((kept[place], fails))
                found.rates.append(total / len(left))
                total -= chances[prompt.id]
            del left[prompt.id]
            label: Label = "unacceptable" if fails else "acceptable"
            response = Response(prompt=prompt, input="", text="", finish="stop", prompt_tokens=0, tokens=0)
            verdicts.append(Verdict(response=response, label=label))
        begin = time.perf_counter()
        order.judged(verdicts)
        found.seconds += time.perf_counter() - begin
        intents |= {item.intent for item in failed}
        met |= {name for item in failed for name in item.regions if name in target.planted}
        if failed:
            target.train(failed)
            if world.learnt < 1:
                weights = Checkpoint(kind="adapter", path=f"{number}", round=number)
        found.distinct.append(len(intents))
        found.regions.append(len(met) / len(target.planted))
    return found


Make = Callable[[Sequence[Item], int, int], Order]
"""(items, rounds, seed) -> an order."""


def prompts_of(items: Sequence[Item]) -> list[RedTeamPrompt]:
    return [item.prompt for item in items]


def seeking(how: Weighing, **settings: Any) -> Make:
    chosen = RedTeamSettings(order="seeking", **settings)
    return lambda items, rounds, seed: Seeking(prompts_of(items), SIZE, rounds, chosen, seed, how)


def greedy(epsilon: float) -> Make:
    return lambda items, rounds, seed: EpsilonGreedy(prompts_of(items), rounds, epsilon, seed)


ORDERS: dict[str, Make] = {
    "file": lambda items, rounds, seed: FileOrder(groups_of(prompts_of(items), SIZE, rounds)),
    "shuffled": lambda items, rounds, seed: Shuffled(
        prompts_of(items), SIZE, rounds, RedTeamSettings(order="shuffled"), seed
    ),
    "epsilon-greedy": greedy(0.2),
    "seeking": seeking(Weighing()),
    "all-knowing": lambda items, rounds, seed: AllKnowing(items, rounds),
}
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


def run_of(name: str, world: World, make: Make, seed: int, data: Path | None, rated: bool = False) -> dict[str, float]:
    """The figures of a run over half of the pool: distinct failures at a tenth, a quarter and half of it, regions met at
    half; of the rate over the last 200 draws, whether its interval holds the true one, and its error."""
    items = pool_of(name, world, seed, data)
    rounds = len(items) // SIZE // 2
    run = simulate(items, world, make(items, rounds, seed), seed, rounds, rated)
    found = {
        "tenth": float(run.distinct[rounds // 5 - 1]),
        "quarter": float(run.distinct[rounds // 2 - 1]),
        "half": float(run.distinct[-1]),
        "regions": run.regions[-1],
        "ms_a_round": 1000 * run.seconds / rounds,
    }
    if run.draws:
        rate = weighted_rate([weighted(draw, failed) for draw, failed in run.draws[-RATED:]])
        true = statistics.fmean(run.rates[-RATED:])
        found |= {"holds": float(rate.low <= true <= rate.high), "error": rate.value - true}
    return found


def means(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure."""
    return {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}


def times(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> str:
    """How many times as many distinct failures are found at a quarter of the pool, with its interval over the draws."""

    def ratio(pairs: Sequence[tuple[float, float]]) -> float:
        below = math.fsum(other for _, other in pairs)
        return math.fsum(one for one, _ in pairs) / below if below else math.nan

    pairs = [(one["quarter"], other["quarter"]) for one, other in zip(ours, theirs, strict=True)]
    low, high = bootstrap(pairs, ratio)
    return f"{ratio(pairs):.2f} [{low:.2f}, {high:.2f}]"


def tune(seconds: float, seeds: Sequence[int]) -> None:
    """Weighings by chance, the best printed last: distinct failures against shuffled, and half a point for all regions met."""
    draw, tried, end = random.Random(0), list[tuple[float, Weighing]](), time.time() + seconds

    def found(name: str, make: Make) -> dict[str, float]:
        return means([run_of(name, TUNED[name], make, seed, None) for seed in seeds])

    base = {name: found(name, ORDERS["shuffled"])["quarter"] for name in TUNED}
    choices: dict[str, tuple[float, ...]] = {
        "own_kind": (0.25, 0.5, 1, 2),
        "all_kinds": (4, 10, 20),
        "failed": (0.3, 0.5, 0.7, 0.9),
        "passed": (0.8, 0.9, 1.0),
        "alike": (1.0, 1.5, 2.0),
        "hope": (0.1, 0.3, 0.6),
        "sharpness": (3.0, 5.0, 7.0, 9.0),
        "least": (0.0, 0.05, 0.1),
    }
    while time.time() < end:
        how = Weighing(**{name: draw.choice(values) for name, values in choices.items()})
        rows = {name: found(name, seeking(how)) for name in TUNED}
        gain = statistics.fmean(row["quarter"] / base[name] for name, row in rows.items())
        tried.append((gain + statistics.fmean(row["regions"] for row in rows.values()) / 2, how))
        print(f"{tried[-1][0]:.3f} {how}", flush=True)
    print("best:", max(tried, key=lambda one: one[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=300, help="of each world; -o is written after each")
    parser.add_argument("--data", type=Path, help="a directory with harmfulqa.json and do_not_answer.json")
    parser.add_argument("--tune", type=float, help="seconds to look for better weighings")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.tune is not None:
        tune(options.tune, range(10_000, 10_000 + options.draws))
        return
    worlds = {**REPORTED, **(REAL if options.data else {})}
    runs: dict[str, dict[str, list[dict[str, float]]]] = {name: {order: [] for order in ORDERS} for name in worlds}
    for seed in range(options.draws):
        for name, world in worlds.items():
            for order, make in ORDERS.items():
                runs[name][order].append(
                    run_of(name, world, make, seed, options.data, order in ("shuffled", "seeking"))
                )
        told = table(runs)
        if options.output is not None:
            options.output.write_text(json.dumps({"draws": seed + 1, "table": told, "runs": runs}) + "\n")
    print(told)


def table(runs: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown: a line a world."""
    lines = [
        "| world | file | shuffled | greedy | seeking | at most | seeking / shuffled | seeking / greedy | regions met "
        "| rate holds |",
        "|---" * 10 + "|",
    ]
    for name, orders in runs.items():
        mean = {order: means(found) for order, found in orders.items()}
        ratios = [times(orders["seeking"], orders[other]) for other in ("shuffled", "epsilon-greedy")]
        regions = ", ".join(f"{mean[order]['regions']:.0%}" for order in ("shuffled", "epsilon-greedy", "seeking"))
        cells = [
            *(f"{mean[order]['quarter']:.1f}" for order in ORDERS),
            *ratios,
            regions,
            f"{mean['seeking']['holds']:.0%}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    held = [run["holds"] for orders in runs.values() for found in orders.values() for run in found if "holds" in run]
    lines.append(f"\nThe rate's interval holds the true rate in {sum(held):.0f} of {len(held)} runs.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
