"""`iteralign status`: how far a run is, as lines and a table."""

from rich.markup import escape

from iteralign.activity import round_name
from iteralign.cli.console import doing, out, print_caution, print_ending
from iteralign.cli.oracle import print_calls
from iteralign.cli.rounds_table import rounds_table
from iteralign.layout import REVIEWED
from iteralign.report.status import RunStatus
from iteralign.rundir.reader import read_run
from iteralign.scoreboard.ending import ending


def print_status(found: RunStatus) -> None:
    """Whether it goes on, the rounds done, and the stage that is next."""
    where = f"{found.run} ({found.name})" if found.name else str(found.run)
    out.print(f"{escape(where)}: {_state(found)}, {found.rounds_done} of {found.rounds} rounds done", soft_wrap=True)
    if found.next_round is not None:
        out.print(f"next: {_next(found)}")
    run = read_run(found.run)
    if any(row.round >= 0 for row in found.metrics):
        out.print(rounds_table(run.metrics(), found.seconds))
        print_caution(found.metrics)
    print_calls(run.calls())
    if found.state == "finished":
        print_ending(ending(found.metrics))


def _state(found: RunStatus) -> str:
    match found.state:
        case "running":
            return f"going on (process {found.process})"
        case "killed":
            return "killed; `iteralign resume` goes on"
        case "finished":
            return "finished"
        case "stopped" | "waiting":
            return f"stopped: {found.reason}"


def _next(found: RunStatus) -> str:
    where = round_name(-1 if found.next_round is None else found.next_round, found.rounds)
    if found.next_stage == REVIEWED:
        return f"{where}: a person decides on its principles: iteralign constitution review {escape(str(found.run))}"
    return f"{where}: {doing(found.next_stage, None) if found.next_stage is not None else 'its end'}"
