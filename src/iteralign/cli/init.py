"""`iteralign init` writes a settings file to start from; `iteralign schema` tells editors what may stand in it."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from iteralign.cli.completion import complete_judge, complete_source
from iteralign.cli.console import out
from iteralign.cli.options import ForceOption, SetOption
from iteralign.errors import ConfigError
from iteralign.files import check_outputs, write_text

FULL = Path(__file__).with_name("init.yaml")
PLACEHOLDERS = {
    "model.path": "HuggingFaceTB/SmolLM-135M",
    "data.prompts": "harmfulqa",
    "oracle.judge.model": "gpt-4o-mini",
}
"""What stands in the file where nothing was said: the lines of init.yaml marked EDIT."""

_HEAD = """\
# Settings of an iteralign run. Whatever is not here has its default; `iteralign init --full FILE` shows every setting.
#   iteralign plan {file}      what the run would take; nothing is started
#   iteralign run {file}
"""


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("config.yaml"),
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model to align: a directory, a hub id or a GGUF file.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="The questions: hh-rlhf, harmfulqa, hub:NAME, or a file.",
            autocompletion=complete_source,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="rules|MODEL",
            help="Who judges and proposes: a model by the name that its server knows, or the rules, for trying out.",
            autocompletion=complete_judge,
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The judge's server, such as http://127.0.0.1:8000/v1; OpenAI's if not said."),
    ] = None,
    overrides: SetOption = None,
    full: Annotated[bool, typer.Option("--full", help="Write every setting, each with a comment.")] = False,
    force: ForceOption = False,
) -> None:
    """Write a settings file to start from: a short one, or all settings with comments."""
    check_outputs(file, force=force)
    if judge == "rules" and base_url is not None:
        raise ConfigError("--base-url goes with a model as judge; the rules have no server.")
    if judge is not None and "://" in judge:
        raise ConfigError(
            f"{judge} is a server, no model: give it as --base-url, and as --judge the model's name there."
        )
    if full and overrides:
        raise ConfigError("--set goes with the short file; --full has a line for every setting, to be edited.")
    given = {"model.path": model, "data.prompts": prompts}
    given |= {"oracle.kind": "rules"} if judge == "rules" else {"oracle.judge.model": judge}
    given |= {"data.benign": "demo" if model == "demo" else "everyday"}
    chosen = {key: value for key, value in (given | {"oracle.judge.base_url": base_url}).items() if value is not None}
    write_text(file, _full(chosen) if full else _short(file, chosen, overrides or []))
    out.print(f"Wrote {file}.", markup=False, soft_wrap=True)
    if missing := _placeholders(chosen):
        out.print(f"Edit {', '.join(missing)} in it.", soft_wrap=True)
    named = shlex.quote(str(file))
    out.print(f"Next: iteralign plan {named}; iteralign run {named}", markup=False, soft_wrap=True)


def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it to a file.")] = None,
    force: ForceOption = False,
) -> None:
    """The JSON schema of the settings file, by which an editor completes, explains and checks it."""
    from iteralign.settings.settings import Settings

    text = json.dumps(Settings.model_json_schema(), indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    check_outputs(output, force=force)
    write_text(output, text)
    out.print(f"Wrote {output}. On top of a settings file beside it:", markup=False, soft_wrap=True)
    out.print(f"# yaml-language-server: $schema={output.name}", markup=False, soft_wrap=True)


def _short(file: Path, chosen: dict[str, str], overrides: list[str]) -> str:
    """Only what differs from the defaults. Raises ConfigError for what is no setting."""
    import yaml

    from iteralign.settings.file import with_override
    from iteralign.settings.settings import load_settings

    missing = _placeholders(chosen)
    values: dict[str, Any] = {}
    for key, value in (missing | chosen).items():
        values = with_override(values, f"{key}={json.dumps(value)}")
    settings = load_settings(values, overrides)
    head = _HEAD.format(file=shlex.quote(str(file))) + (f"# Edit first: {', '.join(missing)}.\n" if missing else "")
    differing = settings.model_dump(mode="json", exclude_defaults=True)
    return head + yaml.safe_dump(differing, sort_keys=False, allow_unicode=True, width=120)


def _full(chosen: dict[str, str]) -> str:
    """init.yaml with the chosen values in their places."""
    text = FULL.read_text(encoding="utf-8")
    shown = PLACEHOLDERS | {"oracle.kind": "openai", "oracle.judge.base_url": "null", "data.benign": "everyday"}
    for key, value in chosen.items():
        name = key.rpartition(".")[2]
        if value != shown[key]:
            text = text.replace(f" {name}: {shown[key]} ", f" {name}: {json.dumps(value, ensure_ascii=False)} ", 1)
    return text


def _placeholders(chosen: dict[str, str]) -> dict[str, str]:
    """For what was not said and has no default."""
    by_rules = chosen.get("oracle.kind") == "rules"
    return {
        key: value
        for key, value in PLACEHOLDERS.items()
        if key not in chosen and not (by_rules and key.startswith("oracle."))
    }
