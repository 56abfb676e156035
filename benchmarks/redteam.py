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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_worlds import REAL, REPORTED, TUNED, Item, SimulatedTarget, World, pool_of

from iteralign.records import Checkpoint, Draw, Label, RedTeamPrompt, Response, Verdict
from iteralign.redteam.chances import Weighing
from iteralign.redteam.orders import FileOrder, Groups, KeepDraws, Order, Seeking, Shuffled, groups_of
from iteralign.redteam.rates import weighted
from iteralign.settings.redteam import RedTeamSettings
from iteralign.stats.intervals import bootstrap
from iteralign.stats.weighted import weighted_rate

SIZE = 20
RATED = 200  # draws


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
    by_question = {item.prompt.question: item for item in items}
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
            item = by_id.get(prompt.id) or by_question[prompt.question]  # of one that was written the id is new
            fails = draw.random() < target.chance(item)
            if fails:
                failed.append(item)
            if rated and kept:
                found.draws.append((kept[place], fails))
                found.rates.append(total / len(left))
                total -= chances[prompt.id]
            left.pop(item.prompt.id, None)
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


def times(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]], key: str = "quarter") -> str:
    """How many times as large the figure is, such as the distinct failures at a quarter of the pool; 95% over the draws."""

    def ratio(pairs: Sequence[tuple[float, float]]) -> float:
        below = math.fsum(other for _, other in pairs)
        return math.fsum(one for one, _ in pairs) / below if below else math.nan

    pairs = [(one[key], other[key]) for one, other in zip(ours, theirs, strict=True)]
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
