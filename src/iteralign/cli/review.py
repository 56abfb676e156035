"""`iteralign constitution review`: one principle after another in the terminal, or decisions from a file."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.panel import Panel
from rich.prompt import Prompt

from iteralign import layout
from iteralign.cli.console import is_terminal, out
from iteralign.cli.principles import describe
from iteralign.constitution.forms import as_yaml
from iteralign.constitution.ledger import extend, in_force
from iteralign.constitution.review import (
    Decision,
    Sheet,
    SheetEntry,
    decide,
    filled,
    neighbours,
    open_ids,
    read_sheet,
    sheet,
    so_far,
)
from iteralign.errors import RunDirectoryError
from iteralign.files import write_text
from iteralign.records import Principle
from iteralign.rundir.reader import Run, Waiting, read_run

_CHOICES = ("accept", "edit", "merge", "reject", "skip", "quit")


def review_run(run_dir: Path, file: Path | None, reviewer: str | None) -> None:
    """Fill in what the run waits for; without that, review what a finished run has."""
    run = read_run(run_dir)
    waiting = run.waiting()
    if waiting is not None:
        _review_round(run, waiting, file, reviewer)
    elif run.finished:
        _review_finished(run, file, reviewer)
    else:
        raise RunDirectoryError(
            f"{run_dir} waits for no decision. Go on with it by `iteralign resume {shlex.quote(str(run_dir))}`; a "
            "finished run's constitution can be reviewed too."
        )


def _review_round(run: Run, waiting: Waiting, file: Path | None, reviewer: str | None) -> None:
    number, path, principles = waiting.round, waiting.sheet, waiting.principles
    adopted = in_force(run.constitution_after(number - 1))
    _fill(run, path, file or path, principles, adopted, open_ids(principles), reviewer)
    _, left = decide(read_sheet(path), principles, adopted, open_ids(principles), path, number)
    if left:
        out.print(f"{len(left)} still wait for a decision: {', '.join(left)}", markup=False)
    else:
        out.print(f"All decided. Go on by: iteralign resume {shlex.quote(str(run.path))}", markup=False)


def _review_finished(run: Run, file: Path | None, reviewer: str | None) -> None:
    ledger, effects = run.constitution()
    path, result = run.path / layout.REVIEW, run.path / layout.REVIEWED_CONSTITUTION
    asked = open_ids(ledger, adopted_too=True)
    if not path.exists():
        write_text(path, sheet(run.path, ledger, [], asked, _questions(run)))
    _fill(run, path, file or path, ledger, [], asked, reviewer)
    decided, left = decide(read_sheet(path), ledger, [], asked, path)
    if left:
        out.print(f"{len(left)} still wait for a decision: {', '.join(left)}", markup=False)
        return
    write_text(result, as_yaml(extend([], decided), effects))
    out.print(f"Wrote {result}. Start from it by: iteralign run CONFIG --constitution {result}", markup=False)


def _fill(
    run: Run,
    path: Path,
    source: Path,
    principles: Sequence[Principle],
    adopted: Sequence[Principle],
    asked: Sequence[str],
    reviewer: str | None,
) -> None:
    """Bring the decisions of `source`, or of the person at the terminal, into the file at `path`."""
    decisions = read_sheet(source)
    if reviewer is not None:
        decisions = decisions.model_copy(update={"reviewer": reviewer})
    if source == path and is_terminal():
        decisions = _ask(decisions, principles, adopted, asked, _questions(run))
    elif source == path:
        out.print(f"No terminal to ask in: fill in {path}, or give a filled-in copy by --file.", markup=False)
    decide(decisions, principles, adopted, asked, source)  # says what can't be carried out, before anything is written
    write_text(path, filled(path.read_text(encoding="utf-8"), decisions))


def _questions(run: Run) -> dict[str, str]:
    """The red-team questions by prompt id."""
    return {prompt.id: prompt.question for prompt in run.prompts()}


def _ask(
    decisions: Sheet,
    principles: Sequence[Principle],
    adopted: Sequence[Principle],
    asked: Sequence[str],
    questions: dict[str, str],
) -> Sheet:
    """Every principle that has no decision yet, one after another."""
    known = {entry.id: entry for entry in decisions.principles}
    reviewer = decisions.reviewer or Prompt.ask("Your name", default="reviewer", console=out)
    still = [one for one in principles if one.id in asked and one.id in known and known[one.id].decision is None]
    for place, principle in enumerate(still, start=1):
        shown = [questions[id] for id in principle.evidence if id in questions][:5]
        text = describe(principle, neighbours(principle, [*adopted, *principles]), shown, so_far(principle))
        out.print(Panel(text, title=f"{principle.id}, {place} of {len(still)}", title_align="left"))
        choice = Prompt.ask("Decide", choices=list(_CHOICES), default="skip", console=out)
        if choice == "quit":
            break
        if choice != "skip":
            known[principle.id] = _entry(known[principle.id], choice)
    return decisions.model_copy(update={"reviewer": reviewer, "principles": list(known.values())})


def _entry(entry: SheetEntry, choice: str) -> SheetEntry:
    changes: dict[str, str | Decision] = {"decision": choice}
    if choice == "edit":
        changes["text"] = Prompt.ask("New text", default=entry.text, console=out)
        changes["other_wording"] = Prompt.ask("Its other wording", default=entry.other_wording, console=out)
    elif choice == "merge":
        changes["into"] = Prompt.ask("Into which id", console=out)
    changes["reason"] = Prompt.ask("Why", default="", console=out)
    return entry.model_copy(update=changes)
