"""What it costs to answer the next round while this one is judged, where both are done by one CPU:

    python benchmarks/one_cpu.py recipes/laptop.yaml [--questions 20] [--rounds 3]

The settings' model answers questions of every day, which it hardly ever declines, so that no failure breaks anything off; the
judge at the settings' address judges the answers. So many rounds are done with look-ahead and so many without, each way with
other questions. No reply is read from or kept in a cache. A line for each way, and the ratio.
"""

import argparse
import time
from pathlib import Path

from iteralign import load_settings
from iteralign.data.prepare import load_prompts
from iteralign.lookahead.ahead import LookAhead
from iteralign.lookahead.early import EarlyJudge
from iteralign.runs import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--questions", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=3, help="of each way")
    options = parser.parse_args()
    settings = load_settings(options.settings, ["oracle.cache=false"])
    model = build.build_model(settings)
    target, form = build.build_target(settings, model), build.build_form(settings, model)
    oracle = build.build_oracle(settings.oracle, settings.seed)
    prompts = load_prompts("everyday", benign=True)
    groups = [prompts[begin : begin + options.questions] for begin in range(0, len(prompts), options.questions)]
    target.load(model.base)
    target.generate([form.render(prompts[-1])], settings.sampling)  # loads the model
    seconds = []
    for apart, first in ((False, 0), (True, options.rounds)):
        coming = groups[first : first + options.rounds]
        ahead = LookAhead(target, EarlyJudge(oracle, apart), form, settings.sampling, settings.lookahead)
        begin = time.perf_counter()
        for number, prompts in enumerate(coming):
            ahead.begin(number, model.base, coming[number:])
            verdicts = ahead.judge(ahead.respond(prompts))
            failed = sum(verdict.label == "unacceptable" for verdict in verdicts)
            print(f"{'apart' if apart else 'ahead'}: round {number}, {failed} failed", flush=True)
        seconds.append(time.perf_counter() - begin)
        print(f"{'judged apart' if apart else 'answered ahead'}: {seconds[-1]:.0f} s", flush=True)
    print(f"apart it takes {seconds[1] / seconds[0]:.2f} of the time")


if __name__ == "__main__":
    main()
