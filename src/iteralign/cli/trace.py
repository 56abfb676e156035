"""`iteralign trace`: where a prompt, a principle or a row of training came from, and what became of it."""

from typing import Annotated

import typer

from iteralign.cli.options import JsonOption, RunArgument


def trace(
    run_dir: RunArgument,
    ident: Annotated[
        str,
        typer.Argument(metavar="ID", help="Of a prompt or principle; or round and line of a row, such as 2:14."),
    ],
    as_json: JsonOption = False,
) -> None:
    """The chain from prompt over answer, verdict, principle, revision and row to the weights, with file, line and hash."""
    from iteralign.cli.as_json import print_json
    from iteralign.cli.console import out
    from iteralign.integrity.trace import trace_run

    found = trace_run(run_dir, ident)
    if as_json:
        print_json(found)
    else:
        for step in found.steps:
            out.print(f"{step.kind:10} {step.where}  sha256 {step.sha256[:12]}", markup=False, soft_wrap=True)
            out.print(f"           {step.text}", markup=False, soft_wrap=True)
        for problem in found.problems:
            out.print(f"Not to be relied on: {problem}", markup=False, soft_wrap=True)
    if found.problems:
        raise typer.Exit(1)
