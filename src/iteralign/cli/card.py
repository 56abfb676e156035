"""`iteralign card` and `iteralign push`: a run shown to others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iteralign.cli.options import ForceOption, RunArgument
from iteralign.errors import ConfigError

if TYPE_CHECKING:
    from iteralign.report.push import Part


def card(
    run_dir: RunArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Directory for them; RUN/cards if not said.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a model card and a data set card: how it was made, what was measured, what that can't show."""
    from iteralign.cli.console import out
    from iteralign.files import check_outputs
    from iteralign.layout import CARDS
    from iteralign.report.cards import card_files, write_cards

    if output is not None:
        check_outputs(*card_files(output), force=force)
    for path in write_cards(run_dir, output or run_dir / CARDS):
        out.print(f"Wrote {path}", markup=False)


def push(
    run_dir: RunArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Repository on the hub, such as me/my-model.")],
    model: Annotated[bool, typer.Option("--model", help="Upload RUN/model with its card.")] = False,
    data: Annotated[
        bool, typer.Option("--data", help="Upload the pairs and the constitution with their card.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Upload the report; it has the run's questions and answers.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; private if not said.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Upload a run that fails `iteralign verify`; its cards say so.")
    ] = False,
) -> None:
    """Upload what you choose to the Hugging Face hub. It shows the files and asks first."""
    from iteralign.cli.console import out
    from iteralign.report.push import as_text, check_unchanged, prepared
    from iteralign.report.push import push as send

    given: dict[Part, bool] = {"model": model, "data": data, "report": report}
    parts = {part for part, chosen in given.items() if chosen}
    if not parts:
        raise ConfigError("Say what to upload: --model, --data, --report, or several of them.")
    if not force:
        check_unchanged(run_dir)
    with prepared(run_dir, name, parts) as uploads:
        for repository, path, size in as_text(uploads):
            out.print(f"{repository}  {path}  {size / 1e6:,.2f} MB", markup=False)
        seen = "everyone can read it" if public else "private"
        if not yes and not typer.confirm(f"Upload these ({seen}, where the repository is new)?"):
            out.print("Nothing was uploaded.")
            return
        for upload in uploads:
            out.print(f"Uploaded to {send(upload, private=not public)}", markup=False)
