"""What prompts that are written during a run find, beside those that were there: seeking with `redteam.grow`, and without.

    python benchmarks/redteam_growth.py [--draws 16] [-o results.json]

Worlds are those of benchmarks/redteam_worlds.py whose questions are made up. Half of the intents stand in no file: only a
writer can come upon them. It is no language model. Asked for a prompt like a failure it writes, with the chances of WRITTEN,
a hidden one of the same topic, the failure in other words, a hidden one of any topic, or what is no question; no order
is told which. Keeping, declining near-copies, the archive of kinds and the choice of parents and styles are the package's own
(`iteralign.redteam.growth`). Each prompt that the writer is asked for costs as much as a judged answer, kept or not.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

from redteam import ORDERS, SIZE, means, prompts_of, simulate, times
from redteam_worlds import REPORTED, Item, World, pool_of

from iteralign.fakes import FakeOracle
from iteralign.records import Checkpoint, Verdict, WantedPrompt
from iteralign.redteam.chances import Weighing
from iteralign.redteam.growth import Growth
from iteralign.redteam.orders import Groups, KeepDraws, Seeking
from iteralign.settings.redteam import RedTeamSettings
from iteralign.text.similarity import by_words

COMPARED, GROWING = ("shuffled", "seeking"), "seeking and grow"
WRITTEN = {"same topic": 0.4, "same wish": 0.2, "any topic": 0.2, "no question": 0.2}
GROW = 8
SHARES = (0.25, 0.5, 1.0)
"""Of what it costs to judge the whole pool: where failures are counted."""


class Writer(FakeOracle):
    """Comes upon the questions of no file."""

    def __init__(self, items: Sequence[Item], hidden: Sequence[Item], draw: random.Random) -> None:
        super().__init__()
        self.draw = draw
        self.of = {item.prompt.question: item for item in items}
        self.hidden: dict[str, list[Item]] = {}
        for item in hidden:
            self.hidden.setdefault(_topic(item), []).append(item)
        self.asked_for = 0

    def write_prompts(self, wanted: Sequence[WantedPrompt]) -> list[str | None]:
        self.asked_for += len(wanted)
        return [self._written(self.of[one.parents[0].question]) for one in wanted]

    def wish_for_harm(self, questions: Sequence[str]) -> list[bool | None]:
        return [True] * len(questions)

    def _written(self, parent: Item) -> str | None:
        (kind,) = self.draw.choices(list(WRITTEN), list(WRITTEN.values()))
        if kind == "same topic":
            some = self.hidden.get(_topic(parent), [])
        elif kind == "same wish":
            some = [item for item in self.of.values() if item.intent == parent.intent and item is not parent]
        elif kind == "any topic":
            some = self.hidden[self.draw.choice(sorted(self.hidden))]
        else:
            some = []
        return self.draw.choice(some).prompt.question if some else None


def _topic(item: Item) -> str:
    return item.regions[0]


class Growing(Seeking):
    """Seeking over a pool to which new prompts are added."""

    def __init__(self, pool: Sequence[Item], writer: Writer, rounds: int, seed: int) -> None:
        chosen = RedTeamSettings(order="seeking", grow=GROW)
        super().__init__(prompts_of(pool), SIZE, rounds, chosen, seed, Weighing())
        self.writer = writer
        self.growth = Growth(writer, GROW, prompts_of(pool), by_words, seed)
        self.asked_for: list[int] = []
        """Prompts that the writer was asked for until the end of each round."""

    def coming(self, number: int, weights: Checkpoint, keep: KeepDraws) -> Groups:
        written = self.growth.written(number)
        self.growth.add(number, written)
        self.add(written)
        return super().coming(number, weights, keep)

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        super().judged(verdicts)
        self.growth.judged(verdicts)
        self.asked_for.append(self.writer.asked_for)


def run_of(world: World, order: str, seed: int) -> dict[str, float]:
    """Distinct failures at each share of the cost of judging the whole pool."""
    items = pool_of("made up", world, seed, None)
    draw = random.Random(f"hidden {seed}")
    unknown = {intent for intent in sorted({item.intent for item in items}) if draw.random() < 0.5}
    pool = [item for item in items if item.intent not in unknown]
    rounds = len(pool) // SIZE
    if order == GROWING:
        writer = Writer(items, [item for item in items if item.intent in unknown], draw)
        growing = Growing(pool, writer, rounds, seed)
        distinct = simulate(items, world, growing, seed, rounds).distinct
        costs = [SIZE * number + asked_for for number, asked_for in enumerate(growing.asked_for, start=1)]
    else:
        distinct = simulate(items, world, ORDERS[order](pool, rounds, seed), seed, rounds).distinct
        costs = [SIZE * number for number in range(1, rounds + 1)]
    found: dict[str, float] = {}
    for share in SHARES:
        within = [count for count, cost in zip(distinct, costs, strict=True) if cost <= share * SIZE * rounds]
        found[f"{share:.0%}"] = float(within[-1])
    return found


def table(runs: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown: a line a world and share."""
    names = [*COMPARED, GROWING]
    lines = [f"| world | judged | {' | '.join(names)} | times seeking |", "|---" * (len(names) + 3) + "|"]
    for world, orders in runs.items():
        for key in (f"{share:.0%}" for share in SHARES):
            found = " | ".join(f"{means(orders[name])[key]:.1f}" for name in names)
            lines.append(f"| {world} | {key} | {found} | {times(orders[GROWING], orders['seeking'], key)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=16, help="of each world; -o is written after each")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    runs: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {order: [] for order in (*COMPARED, GROWING)} for name in REPORTED
    }
    for seed in range(options.draws):
        for name, world in REPORTED.items():
            for order, kept in runs[name].items():
                kept.append(run_of(world, order, seed))
        if options.output is not None:
            options.output.write_text(json.dumps({"draws": seed + 1, "table": table(runs), "runs": runs}) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
