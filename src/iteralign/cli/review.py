"""`iteralign constitution review`: one principle after another in the terminal, or decisions from a file."""

import shlex
from pathlib import Path

from rich.panel import Panel
from rich.prompt import Prompt

from iteralign.cli.console import is_terminal, out
from iteralign.cli.principles import describe
from iteralign.constitution.review import Decision, SheetEntry, neighbours, read_sheet, so_far
from iteralign.rundir.desk import Desk, desk_of, state_of
from iteralign.rundir.reader import read_run

_CHOICES = ("accept", "edit", "merge", "reject", "skip", "quit")


def review_run(run_dir: Path, file: Path | None, reviewer: str | None) -> None:
    """Fill in what the run waits for; without that, review what a finished run has."""
    desk = desk_of(read_run(run_dir))
    desk.prepare()
    source = file or desk.path
    if source != desk.path:
        decisions = read_sheet(source)
        left = desk.replace(decisions if reviewer is None else decisions.model_copy(update={"reviewer": reviewer}))
    else:
        if is_terminal():
            _ask(desk, reviewer)
        else:
            out.print(f"No terminal to ask in: fill in {desk.path}, or give a filled-in copy by --file.", markup=False)
        left = desk.left()
    if left:
        out.print(f"{len(left)} still wait for a decision: {', '.join(left)}", markup=False)
        return
    result = desk.carry_out()
    if result is None:
        out.print(f"All decided. Go on by: iteralign resume {shlex.quote(str(run_dir))}", markup=False)
    else:
        out.print(f"Wrote {result}. Start from it by: iteralign run CONFIG --constitution {result}", markup=False)


def _ask(desk: Desk, reviewer: str | None) -> None:
    """Every principle that has no decision yet, one after another; each decision is kept at once."""
    decisions = desk.read()
    known = {entry.id: entry for entry in decisions.principles}
    by = reviewer or decisions.reviewer or Prompt.ask("Your name", default="reviewer", console=out)
    asked, questions = desk.asked, desk.questions()
    still = [one for one in desk.principles if one.id in asked and one.id in known and known[one.id].decision is None]
    for place, principle in enumerate(still, start=1):
        shown = [questions[id] for id in principle.evidence if id in questions][:5]
        near = neighbours(principle, [*desk.adopted, *desk.principles])
        text = describe(principle, near, shown, so_far(principle))
        out.print(Panel(text, title=f"{principle.id}, {place} of {len(still)}", title_align="left"))
        choice = Prompt.ask("Decide", choices=list(_CHOICES), default="skip", console=out)
        if choice == "quit":
            break
        if choice != "skip":
            seen = known[principle.id]
            desk.decide(_entry(seen, choice).model_copy(update={"by": by}), state_of(seen))


def _entry(entry: SheetEntry, choice: str) -> SheetEntry:
    changes: dict[str, str | Decision] = {"decision": choice}
    if choice == "edit":
        changes["text"] = Prompt.ask("New text", default=entry.text, console=out)
        changes["other_wording"] = Prompt.ask("Its other wording", default=entry.other_wording, console=out)
    elif choice == "merge":
        changes["into"] = Prompt.ask("Into which id", console=out)
    changes["reason"] = Prompt.ask("Why", default="", console=out)
    return entry.model_copy(update=changes)
