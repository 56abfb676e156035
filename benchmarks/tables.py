"""Writes the figures of benchmarks/results/*.json into docs/performance.md, between its marks.

python benchmarks/tables.py
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

STAGES = (
    "start",
    "loading",
    "answering",
    "judging",
    "proposing",
    "answering again",
    "judging again",
    "training",
    "all else",
)


def result(name: str) -> dict[str, Any] | None:
    """A benchmark's last result; None where it has not been run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def measured_on(found: dict[str, Any]) -> str:
    """Versions and hardware in a line."""
    where = found["surroundings"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    machine = (
        f"{where['cpu']}, {where['cores']} cores, {where['threads']} thread(s) used, load {where['load']} at the end"
    )
    return f"{machine}; {versions}."


def comparison(name: str) -> str:
    """Stage by stage, in shares of iteralign's total, then the ratios."""
    found = result(name)
    if found is None:
        return "Not measured yet: `make bench`."
    parts = [found["parts"][who]["seconds"] for who in ("released", "iteralign", "bound")]
    whole = sum(parts[1].values())
    lines = ["| stage | released procedure | iteralign | bound |", "|---|---|---|---|"]
    for stage in STAGES:
        lines.append(f"| {stage} | " + " | ".join(f"{part.get(stage, 0.0) / whole:.2f}" for part in parts) + " |")
    lines.append("| **all** | " + " | ".join(f"**{sum(part.values()) / whole:.2f}**" for part in parts) + " |")
    calls = [found["parts"][who]["oracle"] for who in ("released", "iteralign")]
    steps = [found["parts"][who]["steps"] for who in ("released", "iteralign", "bound")]
    rounds = found["arguments"]["rounds"]
    released, own, least = (sum(part.values()) for part in parts)
    text = [
        f"{rounds} round(s); optimiser steps {steps[0]}, {steps[1]}, {steps[2]}; calls of the oracle {calls[0]['calls']} and "
        f"{calls[1]['calls']}, at most {calls[0]['most']} and {calls[1]['most']} at a time, over {calls[0]['connections']} "
        f"and {calls[1]['connections']} connections.",
        f"**{released / own:.2f} times faster than the released procedure, {own / least:.2f} times the bound.**",
        measured_on(found),
    ]
    return "\n".join([*lines, "", *text])


def ahead(*names: str) -> str:
    """Look-ahead against none."""
    lines = [
        "| cost of a further round | rounds | failing | faster by | in each draw | verdicts in vain | same files |",
        "|---|---|---|---|---|---|---|",
    ]
    last = None
    for name in names:
        found = result(name)
        if found is None:
            continue
        last = found
        for row in found["rows"]:
            cells = (
                f"{row['further']:.2f}",
                row["rounds"],
                row["failing"],
                f"{row['faster']:.2f}",
                ", ".join(f"{draw['faster']:.2f}" for draw in row["draws"]),
                f"{row['wasted']:.0%}",
            )
            lines.append("| " + " | ".join(map(str, cells)) + f" | {'yes' if row['same'] else 'NO'} |")
    return "Not measured yet: `make bench`." if last is None else "\n".join([*lines, "", measured_on(last)])


def engines() -> str:
    """Ways of generating, as tokens per second beside iteralign's transformers engine, which is 1."""
    found = result("engines")
    if found is None:
        return "Not measured yet: `make bench`."
    rows = found["rows"]
    columns = list(dict.fromkeys((row["parameters"], row["set"]) for row in rows))
    ways = list(dict.fromkeys(row["way"] for row in rows))
    ratios = {(row["way"], row["parameters"], row["set"]): row["ratio"] for row in rows}
    head = " | ".join(f"{parameters / 1e6:.0f}M, {name}" for parameters, name in columns)
    lines = [f"| way | {head} |", "|---|" + "---|" * len(columns)]
    for way in ways:
        cells = [ratios.get((way, *column)) for column in columns]
        lines.append(f"| {way} | " + " | ".join("" if cell is None else f"{cell:.2f}" for cell in cells) + " |")
    exact = [row for row in rows if "bfloat16" not in row["way"]]
    same, of = sum(row["same"] for row in exact), sum(row["of"] for row in exact)
    return "\n".join([*lines, "", f"Equal answers, bfloat16 apart: {same} of {of}. {measured_on(found)}"])


def scaling() -> str:
    """Sizes, and start-up."""
    found = result("scaling")
    if found is None:
        return "Not measured yet: `make bench`."
    lines = [
        "| prompts | rounds that train | run, s CPU | peak MB | files | resume, s CPU | status | plan | report |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["sizes"]:
        cpu = {name: f"{row[name]['cpu_seconds']:.1f}" for name in ("run", "resume", "status", "plan", "report")}
        lines.append(
            f"| {row['prompts']:,} | {row['trained']:,} of {row['rounds']:,} | {cpu['run']} | {row['run']['peak_mb']:.0f} "
            f"| {row['files']:,} | {cpu['resume']} | {cpu['status']} | {cpu['plan']} | {cpu['report']} |"
        )
    more = found["start_up"]["help"] - found["start_up"]["interpreter"]
    text = f"`iteralign --help`: {more:.2f} s of CPU time more than the interpreter alone. {measured_on(found)}"
    return "\n".join([*lines, "", text])


def main() -> None:
    tables = {
        "compare": comparison("compare"),
        "compare-padded": comparison("compare-padded"),
        "lookahead": ahead("lookahead", "lookahead-rare", "lookahead-linear", "lookahead-linear-rare"),
        "engines": engines(),
        "scaling": scaling(),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", flags=re.DOTALL)
        if not block.search(text):
            raise SystemExit(f"{PAGE} has no marks for {name}")
        text = block.sub(partial(framed, table), text)
    PAGE.write_text(text, encoding="utf-8")


def framed(table: str, marks: re.Match[str]) -> str:
    return f"{marks[1]}{table}\n{marks[2]}"


if __name__ == "__main__":
    main()
