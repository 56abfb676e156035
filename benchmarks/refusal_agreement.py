"""Agreement of `iteralign.text.refusals.is_refusal` with people: ``python benchmarks/refusal_agreement.py DATA_DIR``.

DATA_DIR holds ``xstest_completions/*.csv`` (XSTest answers of real models with human labels). Partial refusals are
counted apart. The phrases were tuned on odd ids only; even ids are the check.
"""

import argparse
import csv
import math
from pathlib import Path

from iteralign.text.refusals import is_refusal

Row = dict[str, str]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share."""
    if n == 0:
        return (0.0, 1.0)
    z, share = 1.959964, hits / n
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return ((middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n))


def kappa(true_positive: int, false_positive: int, false_negative: int, true_negative: int) -> float:
    """Cohen's kappa of detector and people."""
    n = true_positive + false_positive + false_negative + true_negative
    observed = (true_positive + true_negative) / n
    detector, people = (true_positive + false_positive) / n, (true_positive + false_negative) / n
    chance = detector * people + (1 - detector) * (1 - people)
    return (observed - chance) / (1 - chance)


def line(name: str, rows: list[Row]) -> str:
    """One row of the table."""
    cells = [
        (row["final_label"] == "2_full_refusal", is_refusal(row["completion"]))
        for row in rows
        if row["final_label"][0] in "12"
    ]
    true_positive, false_negative = cells.count((True, True)), cells.count((True, False))
    false_positive, true_negative = cells.count((False, True)), cells.count((False, False))
    low, high = wilson(true_positive + true_negative, len(cells))
    partial = [is_refusal(row["completion"]) for row in rows if row["final_label"].startswith("3")]
    share = (true_positive + true_negative) / len(cells)
    score = kappa(true_positive, false_positive, false_negative, true_negative)
    return (
        f"| {name} | {len(cells)} | {share:.3f} ({low:.3f} to {high:.3f}) | {false_positive} | {false_negative} "
        f"| {score:.3f} | {sum(partial)} of {len(partial)} |"
    )


def main() -> None:
    """Prints the table; with --errors also the answers that the detector and people see differently."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--errors", action="store_true")
    arguments = parser.parse_args()
    print("| answers of | n | agreement (95%) | false refusals | missed refusals | kappa | partial refusals found |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted((arguments.data / "xstest_completions").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        number = {row["id"]: int(row["id"].rpartition("-")[2]) for row in rows}
        print(line(path.stem, rows))
        print(line(f"{path.stem}, odd ids (tuned on)", [row for row in rows if number[row["id"]] % 2]))
        print(line(f"{path.stem}, even ids (held out)", [row for row in rows if number[row["id"]] % 2 == 0]))
        if arguments.errors:
            for row in rows:
                people = row["final_label"][0]
                if number[row["id"]] % 2 and people in "12" and is_refusal(row["completion"]) != (people == "2"):
                    print(f"  {row['id']} {row['final_label']}: {row['completion'].strip()[:300]!r}")


if __name__ == "__main__":
    main()
