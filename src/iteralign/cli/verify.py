"""`iteralign verify`: whether a run is what was computed."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.options import JsonOption, RunArgument


def verify(
    run_dir: RunArgument,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Public key (PEM): check the signatures of `sign` too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no file of a run was changed, cut or swapped since it was written, and that they fit each other."""
    from iteralign.cli.as_json import print_json
    from iteralign.cli.console import out
    from iteralign.integrity.verify import verify_run

    found = verify_run(run_dir)
    if key is not None:
        from iteralign.integrity.signing import wrong_signatures

        found = replace(found, problems=[*found.problems, *wrong_signatures(run_dir, key)])
    if as_json:
        print_json(found)
    else:
        for problem in found.problems:
            out.print(problem, markup=False, soft_wrap=True)
        if found.remedy:
            out.print(found.remedy, markup=False, soft_wrap=True)
        if not found.manifest and not found.problems:
            out.print(
                "No manifest: an earlier version wrote this run. Only what its files say of each other was checked."
            )
        elif found.good:
            out.print(f"{found.files:,} files ({found.bytes / 1e6:,.1f} MB) are what was written, and fit each other.")
    if not found.good:
        raise typer.Exit(1)
