"""What it costs to judge answers while others are generated, where both are done by one CPU:

    python benchmarks/one_cpu.py recipes/laptop.yaml --set data.prompts=FILE [--questions 20] [--turns 2]

The settings' model answers questions and the judge at the settings' address judges them, as a run does to measure itself: as
they are finished, and when all are there, in turn, each time other questions. No reply is read from or kept in a cache. A line
for each turn, and the ratio of all.
"""

import argparse
import time
from pathlib import Path

from iteralign import load_settings
from iteralign.data.prepare import load_prompts
from iteralign.lookahead.early import EarlyJudge
from iteralign.runs import build
from iteralign.steps.measure import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--questions", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=2, help="of each way")
    options = parser.parse_args()
    settings = load_settings(options.settings, [*options.set, "oracle.cache=false"])
    model = build.build_model(settings)
    target, form = build.build_target(settings, model), build.build_form(settings, model)
    oracle = build.build_oracle(settings.oracle, settings.seed)
    prompts = load_prompts(str(settings.data.prompts))[: 2 * options.turns * options.questions]
    target.load(model.base)
    measure(target, oracle, form, prompts[:1], settings.sampling)  # loads the model
    seconds = {"as they are finished": 0.0, "when all are there": 0.0}
    while len(prompts) >= options.questions:
        for how in seconds:
            asked, prompts = prompts[: options.questions], prompts[options.questions :]
            judge = EarlyJudge(oracle, apart=how == "when all are there")
            begin = time.perf_counter()
            measure(target, judge, form, asked, settings.sampling, judge.ask)
            took = time.perf_counter() - begin
            seconds[how] += took
            print(f"{options.questions} answers judged {how}: {took:.0f} s", flush=True)
    both = list(seconds.values())
    print(f"judged when all are there it takes {both[1] / both[0]:.2f} of the time")


if __name__ == "__main__":
    main()
