"""Writes docs/cli.md from the command line's own help: ``python docs/make_cli.py``. A test checks that it is current."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100

INTRODUCTION = """\
# The command line

Written by `python docs/make_cli.py` from the help texts; change those, not this page.

Exit codes: 0 done, 1 failed, 2 wrong usage, settings or input, 3 budget reached, 4 waiting for a person, 5 ended with nothing
trained though there was something to learn, 130 interrupted.
After 3, 4 and 130 the run can be resumed. An expected error is one message on standard error: what
happened, where, and what to do.
"""


def page() -> str:
    """The whole page: the help of the program, of each group and of each command."""
    import typer.main

    from iteralign.cli.app import app

    root = typer.main.get_command(app)
    sections = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(root, "iteralign", None)]
    return "\n".join([INTRODUCTION, *sections])


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.make_context(name, [], parent, resilient_parsing=True, terminal_width=WIDTH)
    yield context.command_path, "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _helps(child, child_name, context)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
