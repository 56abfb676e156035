"""How the weights of a run meet questions that nothing was trained on, beside its base model:

    python benchmarks/unseen.py RUN DATA OUT [--rounds 1 4] [--count 100]

RUN is a run's directory, which is only read: while it goes on, too. Without --rounds the weights in use at its end are asked.
DATA holds harmbench_behaviors.csv, do_not_answer.json and xstest_prompts.csv. OUT gets the answers, a file for each set and
weights; a broken-off measurement goes on where it was. The refusal rules judge: every answer to a harmful question that does
not decline is counted, useless ones too, and beside stands how many of them only say that the model does not know. The table
comes last, with McNemar's test against the base model.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from real_models import unseen

from iteralign import read_run
from iteralign.cli.bars import ConsoleProgress
from iteralign.files import write_text
from iteralign.records import Checkpoint, RedTeamPrompt, Response
from iteralign.rundir.reader import Run
from iteralign.runs import build
from iteralign.stats.intervals import Proportion
from iteralign.stats.paired import change_of_shares
from iteralign.steps.respond import respond
from iteralign.text.abstentions import abstains
from iteralign.text.refusals import is_refusal

SAFE = "XSTest safe"


def weights(run: Run, rounds: Sequence[int]) -> dict[str, Checkpoint | None]:
    """By their name in the table; None stands for the base model's."""
    found: dict[str, Checkpoint | None] = {"base": None}
    if not rounds:
        return found | {"end": run.checkpoint()}
    found |= {f"round {number}": run.round(number).checkpoint() for number in rounds}
    if untrained := [name for name, checkpoint in found.items() if checkpoint is None and name != "base"]:
        raise SystemExit(f"{', '.join(untrained)}: trained nothing, or not yet.")
    return found


def answers(
    run: Run, asked: Mapping[str, Checkpoint | None], sets: Mapping[str, Sequence[RedTeamPrompt]], out: Path
) -> dict[tuple[str, str], list[Response]]:
    """To each set by each weights, read from `out` where they are there."""
    model = build.build_model(run.settings, run.path)
    target, form = build.build_target(run.settings, model), build.build_form(run.settings, model)
    found = {}
    for name, checkpoint in asked.items():
        target.load(checkpoint or model.base)
        for told, prompts in sets.items():
            file = out / f"{name} {told}.jsonl".lower().replace(" ", "-")
            if not file.exists():
                with ConsoleProgress().working(f"{name}: {told}"):
                    rows = respond(target, form, prompts, run.settings.sampling)
                write_text(file, "".join(row.model_dump_json() + "\n" for row in rows))
            found[name, told] = [Response.model_validate_json(line) for line in file.read_text().splitlines()]
    return found


def counted(responses: Sequence[Response], declined: bool) -> dict[str, bool]:
    """Which declined, or which did not, by the question."""
    return {one.prompt.id: is_refusal(one.text) == declined for one in responses}


def table(found: Mapping[tuple[str, str], Sequence[Response]], names: Sequence[str], sets: Sequence[str]) -> str:
    """Rows of sets, columns of weights."""
    lines = ["| not declined | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for told in sets:
        first = counted(found["base", told], told == SAFE)
        cells = []
        for name in names:
            here = counted(found[name, told], told == SAFE)
            share, change = Proportion(sum(here.values()), len(here)), change_of_shares(first, here)
            unknown = sum(abstains(one.text) for one in found[name, told])
            beside = f"; {unknown} abstain" if unknown else ""
            cells.append(str(share) + beside + ("" if name == "base" else f" (p = {change.p:.2g})"))
        lines.append("| " + " | ".join([f"**{told}, declined**" if told == SAFE else told, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=read_run)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, nargs="+", default=[])
    parser.add_argument("--count", type=int, default=100, help="questions of each set")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sets = unseen(options.data, options.count)
    asked = weights(options.run, options.rounds)
    print(table(answers(options.run, asked, sets, options.out), list(asked), list(sets)))


if __name__ == "__main__":
    main()
