"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.completion import complete_setting

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="Settings file (YAML).")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Override a setting.", autocompletion=complete_setting),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
RunDirOption = Annotated[Path | None, typer.Option("--run-dir", metavar="RUN", help="Where the run is kept.")]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the run is called.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object (docs/json.md) and nothing else.")]
