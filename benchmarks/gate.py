"""What trials of principles cost, and whether deciding them early decides as all their answers would:

    OMP_NUM_THREADS=1 python benchmarks/gate.py record DATA_DIR trials.jsonl --sets dangerousqa --seeds 0 1
    python benchmarks/gate.py replay trials.jsonl --certainty 0.8 0.9 0.95 1

`record` makes a run and then has every principle that one of its rounds tried answer its whole sample, with the weights of
that time. The proposer is the careless one of benchmarks/constitution.py: the rules alone propose next to nothing that
fails. `--model` names another target than the demo's (a GGUF file; 64 new tokens, chat form). `replay` puts the recorded
answers to the gate, the prompts of each sample in many orders.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from constitution import RECIPE, SMALLER, Careless

from iteralign import layout, load_settings
from iteralign.constitution.bench import Bench, Outcomes, Question, key
from iteralign.constitution.gate import Gate, Portion, Tryout, carry_out, sample, why_rejected
from iteralign.interfaces import Target
from iteralign.records import Checkpoint, Generation, Principle, Record, RedTeamPrompt, Sampling, Verdict
from iteralign.rundir.reader import Run, read_run
from iteralign.runs.parts import Parts, build_parts
from iteralign.runs.run import start_run
from iteralign.settings.constitution import GateSettings
from iteralign.settings.settings import Settings
from iteralign.stats.intervals import Proportion
from iteralign.steps.judge import acceptable, unacceptable
from iteralign.text.degenerate import is_degenerate
from iteralign.text.similarity import by_words

REAL = (
    "form.name=chat",
    "data.limit=80",
    "data.held_out=0.25",
    "data.benign_limit=80",
    "data.benign_held_out=0.25",
    "sampling.max_new_tokens=64",
    "sampling.frequency_penalty=0.3",
    "training.epochs=2",
    "training.learning_rate=0.0003",
    "training.min_benign=16",
    "training.min_replay=16",
    "measure.capability=null",
    "measure.every=99",
    "revision.tries=2",
)
"""Beside the demo's settings, for a model that others made."""


class Answer(Record):
    """Whether an answer counts, and what it cost."""

    prompt: str
    principle: str | None
    counts: bool | None
    tokens: int
    there: bool
    """It need not be generated: the same weights have answered the same text before."""


class Tried(Record):
    """A principle and its sample, by the prompts' ids."""

    principle: Principle
    own: tuple[str, ...]
    others: tuple[str, ...]
    benign: tuple[str, ...]


class Trials(Record):
    """All trials of a round, answered in full."""

    data: str
    seed: int
    round: int
    own_tokens: int
    """What the round generated besides: answers and revisions."""
    tried: tuple[Tried, ...]
    answers: tuple[Answer, ...]


class Counting(Target):
    """A target that counts what it generates, by the text that it continued."""

    def __init__(self, inner: Target) -> None:
        self.inner = inner
        self.tokens: dict[str, int] = {}

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        made = self.inner.generate(inputs, sampling)
        self.tokens |= {text: generation.tokens for text, generation in zip(inputs, made, strict=True)}
        return made

    def load(self, checkpoint: Checkpoint) -> None:
        self.inner.load(checkpoint)


class Replayed(Outcomes):
    """Answers that were recorded; counts what those asked for would have cost."""

    def __init__(self, trials: Trials) -> None:
        self.answers = {(one.prompt, one.principle): one for one in trials.answers}
        self.asked: set[tuple[str, str | None]] = set()
        self.made = 0  # no cap

    def of(self, prompt: RedTeamPrompt, principle: Principle | None) -> bool | None:
        return self.answers[key(prompt, principle)].counts

    def ask(self, questions: Sequence[Question]) -> None:
        self.asked |= {key(prompt, principle) for prompt, principle in questions}

    def cost(self) -> int:
        """Tokens that had to be generated."""
        return sum(self.answers[key].tokens for key in self.asked if not self.answers[key].there)


def settings_of(data: Path, name: str, seed: int, model: Path | None, more: Sequence[str]) -> Settings:
    """The demo's recipe on this set, or the real model's."""
    prompts = [f"data.prompts={name}", f"data.path={data / f'{name}.json'}", f"seed={seed}"]
    if model is None:
        return load_settings(RECIPE, [*SMALLER, *prompts, *more])
    benign = f"data.benign={data / 'vicuna_bench_question.jsonl'}"
    return load_settings(RECIPE, [f"model.path={model}", *REAL, *prompts, benign, *more])


def recorded(settings: Settings, name: str) -> Iterator[Trials]:
    """A run, and the trials of its rounds in full."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "run"
        parts = build_parts(settings, directory)
        start_run(settings, directory, parts=replace(parts, oracle=Careless(parts.oracle)))
        yield from trials_of(read_run(directory), build_parts(settings, directory), name)


def trials_of(run: Run, parts: Parts, name: str) -> Iterator[Trials]:
    """Every principle that was tried, on the whole sample, by the weights that its round began with."""
    benign = [one.response for one in acceptable(run.baseline.verdicts()) if not is_degenerate(one.response.text)]
    earlier: list[Verdict] = []
    weights, target = parts.base, Counting(parts.target)
    for one in run.rounds():
        failures = unacceptable(one.verdicts())
        tried = [again(principle) for principle in one.read(layout.TRIED) if principle.trial is not None]
        if tried:
            target.load(weights)
            given = target, parts.oracle, parts.form, failures, earlier, benign, run.settings.sampling
            bench = Bench(*given, run.settings.revision.must_decline, base=weights == parts.base)
            gate = Gate(GateSettings(), run.settings.seed, by_words)
            samples = [sample(principle, bench, gate, one.number) for principle in tried]
            own = sum(answer.tokens for answer in one.responses())
            own += sum(revision.response.tokens for revision in one.revisions())
            yield Trials(
                data=name,
                seed=run.settings.seed,
                round=one.number,
                own_tokens=own,
                tried=tuple(as_tried(one) for one in samples),
                answers=tuple(in_full(samples, bench, target)),
            )
        earlier = [*earlier, *failures]
        metrics = one.metrics()
        if metrics is not None and metrics.weights >= 0:
            weights = run.round(metrics.weights).checkpoint() or weights


def again(principle: Principle) -> Principle:
    """As it was before its trial."""
    return principle.model_copy(update={"status": "proposed", "trial": None})


def as_tried(one: Tryout) -> Tried:
    """What is kept of a sample."""
    own, others, benign = (tuple(p.id for p in part.prompts) for part in (one.own, one.others, one.benign))
    return Tried(principle=one.principle, own=own, others=others, benign=benign)


def in_full(samples: Sequence[Tryout], bench: Bench, target: Counting) -> Iterator[Answer]:
    """All answers to the samples."""
    target.tokens.clear()
    questions = {
        key(prompt, given): (prompt, given)
        for one in samples
        for part in (one.own, one.others, one.benign)
        for prompt in part.prompts
        for given in (None, one.principle)
    }
    outcomes = Outcomes(bench)
    outcomes.ask(list(questions.values()))
    before = {one.input: one.tokens for one in (*(v.response for v in bench.failures), *bench.benign)}
    for (prompt_id, principle_id), (prompt, given) in questions.items():
        text = bench.form.render(prompt, [] if given is None else [given])
        there = text not in target.tokens
        yield Answer(
            prompt=prompt_id,
            principle=principle_id,
            counts=outcomes.of(prompt, given),
            tokens=before[text] if there else target.tokens[text],
            there=there,
        )


def decided(trials: Trials, asked: GateSettings, draw: random.Random) -> tuple[list[bool], int]:
    """(whether each principle passes, tokens generated), the prompts of each sample in some order."""
    tryouts = [
        Tryout(one.principle, shuffled(one.own, draw), shuffled(one.others, draw), shuffled(one.benign, draw))
        for one in trials.tried
    ]
    outcomes = Replayed(trials)
    carry_out(tryouts, outcomes, asked)
    return [why_rejected(one, asked) is None for one in tryouts], outcomes.cost()


def shuffled(ids: Sequence[str], draw: random.Random) -> Portion:
    """The prompts in another order."""
    return Portion([RedTeamPrompt(id=id, question="") for id in draw.sample(list(ids), len(ids))])


def replayed(rounds: Sequence[Trials], certainty: float, orders: int) -> str:
    """One line: decisions like those of the whole sample, and tokens beside the rounds' own."""
    asked = GateSettings(certainty=certainty)
    same = tokens = own = 0
    wrongly = {True: 0, False: 0}
    principles = sum(len(one.tried) for one in rounds) * orders
    for one in rounds:
        whole, _ = decided(one, GateSettings(certainty=1), random.Random(0))
        for order in range(orders):
            passes, cost = decided(one, asked, random.Random(f"{one.data} {one.seed} {one.round} {order}"))
            tokens, own = tokens + cost, own + one.own_tokens
            same += sum(early == late for early, late in zip(passes, whole, strict=True))
            for early, late in zip(passes, whole, strict=True):
                wrongly[early] += early != late
    return (
        f"{certainty:9} {Proportion(same, principles)!s:>20} {wrongly[True] / orders:8.2f} {wrongly[False] / orders:8.2f} "
        f"{tokens / own:9.2f}"
    )


def table(rounds: Sequence[Trials], certainties: Sequence[float], orders: int) -> str:
    """For each set."""
    lines = []
    for name in dict.fromkeys(one.data for one in rounds):
        some = [one for one in rounds if one.data == name]
        passing = sum(sum(decided(one, GateSettings(certainty=1), random.Random(0))[0]) for one in some)
        count = sum(len(one.tried) for one in some)
        before = sum(answer.tokens for one in some for answer in one.answers) / sum(one.own_tokens for one in some)
        lines.append(
            f"{name}: {len(some)} rounds, {count} principles, {passing} of which pass on the whole sample; all its answers "
            f"are {before:.2f} times the rounds' own tokens"
        )
        lines.append(f"{'certainty':>9} {'same decision':>20} {'passed*':>8} {'failed*':>8} {'tokens**':>9}")
        lines += [replayed(some, certainty, orders) for certainty in certainties]
    return "\n".join([*lines, "* otherwise than on the whole sample, in a mean order; ** of the rounds' own"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record")
    record.add_argument("data", type=Path)
    record.add_argument("output", type=Path)
    record.add_argument("--sets", nargs="+", choices=("dangerousqa", "harmfulqa"), default=["dangerousqa"])
    record.add_argument("--seeds", type=int, nargs="+", default=[0])
    record.add_argument("--model", type=Path)
    record.add_argument("--set", action="append", default=[], dest="more", metavar="KEY=VALUE")
    replay = commands.add_parser("replay")
    replay.add_argument("trials", type=Path)
    replay.add_argument("--certainty", type=float, nargs="+", default=[0.8, 0.9, 0.95, 1.0])
    replay.add_argument("--orders", type=int, default=20)
    options = parser.parse_args()
    if options.command == "replay":
        rounds = [Trials.model_validate_json(line) for line in options.trials.read_text("utf-8").splitlines()]
        print(table(rounds, options.certainty, options.orders))
        return
    for seed in options.seeds:
        for name in options.sets:
            for trials in recorded(settings_of(options.data, name, seed, options.model, options.more), name):
                with options.output.open("a", encoding="utf-8") as file:
                    file.write(trials.model_dump_json() + "\n")
                print(name, seed, trials.round, len(trials.tried), flush=True)


if __name__ == "__main__":
    main()
