"""`iteralign report`: a run as one page to look at."""

from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.options import ForceOption, RunArgument


def report(
    run_dir: RunArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="RUN/report.html if not said.")] = None,
    force: ForceOption = False,
) -> None:
    """One HTML file with everything that a run shows; also while the run goes on."""
    from iteralign.cli.console import out
    from iteralign.files import check_outputs
    from iteralign.report.html import write_report
    from iteralign.rundir.directory import record_again

    if output is not None:
        check_outputs(output, force=force)
    path = write_report(run_dir, output)
    if output is None:
        record_again(run_dir, path.name)
    out.print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB). Open it in a browser.", markup=False)
