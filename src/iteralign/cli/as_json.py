"""`--json`: what a command found, for a program to read. docs/json.md has the keys."""

import typer


def print_json(found: object) -> None:
    """One JSON object on standard output: the fields of a record or dataclass. A number that there is none of is null."""
    from pydantic import TypeAdapter

    typer.echo(TypeAdapter(type(found)).dump_json(found, indent=2, ensure_ascii=True))
