"""`iteralign data`: prompt sets."""

from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.completion import complete_source
from iteralign.cli.console import out
from iteralign.cli.options import ForceOption
from iteralign.settings.choices import Turns

data_app = typer.Typer(help="Prompt sets.", no_args_is_help=True)


@data_app.command("prepare")
def data_prepare(
    source: Annotated[
        str,
        typer.Argument(help="hh-rlhf, harmfulqa, dangerousqa, hub:NAME, or a file.", autocompletion=complete_source),
    ],
    path: Annotated[Path | None, typer.Argument(help="The raw file of a named set.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the prompts go (JSONL).", dir_okay=False)
    ] = Path("prompts.jsonl"),
    held_out: Annotated[float, typer.Option(help="Share of the questions to hold out.")] = 0.0,
    held_out_output: Annotated[
        Path | None, typer.Option(help="Where those go; OUTPUT with -held-out in its name if not said.")
    ] = None,
    question_field: Annotated[str | None, typer.Option(help="Column with the question.")] = None,
    turns: Annotated[Turns, typer.Option(help="first: the first human turn; last: the conversation.")] = "first",
    where: Annotated[str | None, typer.Option(metavar="COLUMN=VALUE", help="Take only these rows.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    shuffle: Annotated[bool, typer.Option(help="Seeded shuffle.")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    benign: Annotated[bool, typer.Option(help="These are questions a good model answers.")] = False,
    force: ForceOption = False,
) -> None:
    """Read a prompt set, remove doubles, hold questions out, write JSONL."""
    from iteralign.data import prepare, write_prompts
    from iteralign.files import check_outputs

    beside = held_out_output or output.with_name(f"{output.stem}-held-out{output.suffix}")
    check_outputs(*((output, beside) if held_out else (output,)), force=force)
    made = prepare(
        source,
        path,
        held_out_share=held_out or None,
        question_field=question_field,
        turns=turns,
        where=where,
        limit=limit,
        seed=seed,
        shuffle=shuffle,
        benign=benign,
    )
    write_prompts(output, made.prompts)
    for name, count in made.counts().items():
        out.print(f"{count:>8,}  {name}", markup=False)
    for name, count in list(made.categories().items())[:10]:
        out.print(f"{count:>8,}    {name}", style="dim", markup=False)
    out.print(f"Wrote {output}", markup=False)
    if made.held_out:
        write_prompts(beside, made.held_out)
        out.print(f"Wrote {beside}", markup=False)
