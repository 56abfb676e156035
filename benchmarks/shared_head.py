"""What a judge's text costs and is worth: prompt tokens read per verdict, and agreement with people.

    python benchmarks/shared_head.py DATA_DIR after.jsonl --base-url URL --model NAME [--judge-file TEXT]
    python benchmarks/shared_head.py --compare before.jsonl after.jsonl

A text of before: `--judge-file` (docs/performance.md measured it with that version of the code, whose markers were longer).
DATA_DIR holds `xstest_completions/*.csv` of the XSTest repository (paul-rottger/xstest). The sample is balanced: as many
answers of each group (safe and unsafe prompts) and label (acceptable or not), in an order that depends on the questions
alone, so that two texts are asked about the same answers. `--half` keeps one half of the questions: choose a wording on
one, report on the other. One request at a time and no cache of replies: each verdict is read by the server, which tells
how much of it it had before (llama-server: start it with -np 1). An interrupted run goes on where its file ends.
"""

import argparse
import hashlib
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from iteralign.evals.agreement import agreement
from iteralign.evals.human_labels import Labelled, read_human_labels
from iteralign.oracles.budget import Account
from iteralign.oracles.client import ChatClient
from iteralign.oracles.llm import LLMOracle
from iteralign.records import RedTeamPrompt, Response, Verdict
from iteralign.settings.oracle import EndpointSettings, OracleSettings
from iteralign.stats.paired import mcnemar

Row = dict[str, Any]


def place(question: str) -> int:
    """A question's place in the order, the same everywhere."""
    return int(hashlib.sha256(question.encode()).hexdigest(), 16)


def sample(data: Path, count: int, half: str) -> list[Labelled]:
    """`count` answers, the four kinds in turn, so that any beginning of the list is balanced too."""
    kinds: dict[tuple[str, str], list[Labelled]] = defaultdict(list)
    labelled, _ = read_human_labels(data / "xstest_completions")
    for one in sorted(labelled, key=lambda one: (place(one.response.prompt.question), one.response.prompt.id)):
        if half == "all" or place(one.response.prompt.question) % 2 == (half == "second"):
            kinds[one.group, one.label].append(one)
    turns = zip(*(kinds[kind] for kind in sorted(kinds)), strict=False)
    return list(chain.from_iterable(turns))[:count]


def judged(oracle: LLMOracle, account: Account, answers: list[Labelled]) -> Iterator[Row]:
    """One row for each answer: the person's word, the judge's, and what the request took."""
    for one in answers:
        before, start = account.total(), time.monotonic()
        verdict = oracle.judge([one.response])[0]
        after = account.total()
        yield {
            "id": one.response.prompt.id,
            "group": one.group,
            "person": one.label,
            "judge": verdict.label,
            "sent": after.prompt_tokens - before.prompt_tokens,
            "reused": after.reused_tokens - before.reused_tokens,
            "written": after.completion_tokens - before.completion_tokens,
            "seconds": round(time.monotonic() - start, 1),
        }


def run(arguments: argparse.Namespace) -> None:
    """Asks about what is not in the file yet, and appends it."""
    file = Path(arguments.files[1])
    known = {row["id"] for row in rows(file)} if file.exists() else set()
    account = Account()
    endpoint = {"model": arguments.model, "base_url": arguments.base_url, "timeout": 600.0, "max_tokens": 400}
    client = ChatClient(EndpointSettings.model_validate(endpoint | {"concurrency": 1}), account=account)
    texts = None if arguments.judge_file is None else {"judge": arguments.judge_file}
    oracle = LLMOracle(OracleSettings.model_validate({"kind": "rules", "texts": texts}), client)
    answers = sample(Path(arguments.files[0]), arguments.count, arguments.half)
    with file.open("a", encoding="utf-8") as out:
        for row in judged(oracle, account, [one for one in answers if one.response.prompt.id not in known]):
            print(json.dumps(row), file=out, flush=True)
    print(table([file]))


def rows(file: Path) -> list[Row]:
    """What a run has written."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def table(files: list[Path]) -> str:
    """A line for each file and group; the first row of a file is left out of the token counts, since it finds nothing."""
    lines = ["| text | answers | n | undet. | right (95%) | kappa (95%) | sent | reused | read | written | s |"]
    lines.append("|" + "---|" * 11)
    for file in files:
        found = rows(file)
        for group in (*sorted({row["group"] for row in found}), "all"):
            lines.append(line(file.stem, group, [row for row in found if group in ("all", row["group"])]))
    return "\n".join(lines)


def line(name: str, group: str, found: list[Row]) -> str:
    """Agreement, and means per verdict."""
    one = agreement([labelled(row) for row in found], [verdict(row) for row in found])
    low, high = one.kappa_interval
    later = found[1:] or found
    sent, reused, written, seconds = (
        statistics.fmean(row[key] for row in later) for key in ("sent", "reused", "written", "seconds")
    )
    return (
        f"| {name} | {group} | {len(found)} | {one.undetermined} | {one.accuracy} "
        f"| {one.kappa:.2f} [{low:.2f}, {high:.2f}] | {sent:.0f} | {reused:.0f} | {sent - reused:.0f} "
        f"| {written:.0f} | {seconds:.1f} |"
    )


def labelled(row: Row) -> Labelled:
    """The row as a labelled answer, without its text."""
    return Labelled(verdict(row).response, row["person"], row["group"])


def verdict(row: Row) -> Verdict:
    """The row as a verdict, without its text."""
    prompt = RedTeamPrompt(id=row["id"], question=row["id"])
    response = Response(prompt=prompt, input="", text="", finish="stop", prompt_tokens=0, tokens=0)
    return Verdict(response=response, label=row["judge"], judge="")


def compare(before: Path, after: Path) -> str:
    """The answers that both were asked about: which read less, and McNemar's exact test on which was right."""
    first, second = ({row["id"]: row for row in rows(file)} for file in (before, after))
    both = [name for name in first if name in second]
    right = [[part[name]["judge"] == part[name]["person"] for name in both] for part in (first, second)]
    gained = sum(b and not a for a, b in zip(*right, strict=True))
    lost = sum(a and not b for a, b in zip(*right, strict=True))
    read = [sum(part[name]["sent"] - part[name]["reused"] for name in both[1:]) for part in (first, second)]
    return (
        f"{len(both)} answers in both: {gained} right only after, {lost} right only before, "
        f"McNemar p = {mcnemar(gained, lost):.2f}; tokens read {read[0]:,} before, {read[1]:,} after "
        f"({100 * (1 - read[1] / read[0]):.0f}% less)"
    )


def main() -> None:
    """Runs one text, or compares two runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs=2)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="judge")
    parser.add_argument("--judge-file", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--half", choices=("first", "second", "all"), default="second")
    arguments = parser.parse_args()
    if arguments.compare:
        before, after = map(Path, arguments.files)
        print(table([before, after]))
        print(compare(before, after))
    else:
        run(arguments)


if __name__ == "__main__":
    main()
