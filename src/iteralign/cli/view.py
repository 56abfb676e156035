"""`iteralign view`: runs in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.console import out
from iteralign.errors import ConfigError


def view(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Runs, or one run.")] = Path("runs"),
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Listen here; beyond loopback all needs the token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0: any that is free.")] = 8899,
) -> None:
    """Every run under a directory as a page: live, searchable, and the place to review principles. Ctrl-C ends it."""
    from iteralign.endpoints.loopback import LOOPBACK
    from iteralign.view.server import serve

    if not directory.is_dir():
        raise ConfigError(f"{directory} is no directory. Name one that holds runs, or a run.")

    def tell(address: str) -> None:
        out.print(f"Runs under {directory}: {address}", markup=False, soft_wrap=True)
        if host not in LOOPBACK:
            out.print("Whoever has this address can read these runs, and decide in their reviews.", style="bold")
        out.print("Ctrl-C ends it.", style="dim")

    serve(directory.resolve(), host, port, tell)
