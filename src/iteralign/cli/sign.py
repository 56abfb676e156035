"""`iteralign sign`: a run's model and manifest, signed with one's own key."""

from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.options import RunArgument


def sign(
    run_dir: RunArgument,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="Private key: PEM, unencrypted, on P-256, P-384 or P-521.")
    ],
) -> None:
    """Sign RUN/model and the manifest of a finished run (OpenSSF model signing); `verify --key` checks it."""
    from iteralign.cli.console import out
    from iteralign.integrity.signing import sign_run

    for path in sign_run(run_dir, key):
        out.print(f"Wrote {path}", markup=False)
