"""Prompt sets that are ready to use, as JSONL: one RedTeamPrompt a line."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from iteralign.data.files import decode, numbered_lines, parse_json_line, read_bytes, write_atomically
from iteralign.errors import DataError
from iteralign.records import RedTeamPrompt


def write_prompts(path: Path | str, prompts: Iterable[RedTeamPrompt]) -> None:
    """Write the prompts in order; the file appears whole or not at all. Raises DataError."""
    write_atomically(Path(path), "".join(f"{prompt.model_dump_json()}\n" for prompt in prompts))


def read_prompts(path: Path | str) -> list[RedTeamPrompt]:
    """What `write_prompts` wrote, equal to it. Raises DataError that names the line and the field."""
    path = Path(path)
    text = decode(path, read_bytes(path))
    prompts: list[RedTeamPrompt] = []
    lines: dict[str, int] = {}
    for number, line in numbered_lines(text):
        prompt = _parse(path, text, number, line)
        if prompt.id in lines:
            raise DataError(
                f"{path}:{number}: the id {prompt.id!r} is also on line {lines[prompt.id]}; every prompt needs its own."
            )
        lines[prompt.id] = number
        prompts.append(prompt)
    if not prompts:
        raise DataError(f"{path}: there is nothing in this file; it needs at least one prompt.")
    return prompts


def _parse(path: Path, text: str, number: int, line: str) -> RedTeamPrompt:
    parse_json_line(path, text, number, line)
    try:
        prompt = RedTeamPrompt.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(
            f"{path}:{number}: {field}: {first['msg']}. A prompt file has the fields "
            f"{', '.join(RedTeamPrompt.model_fields)}; other files go through `iteralign data prepare` first."
        ) from error
    for field, value in (("id", prompt.id), ("question", prompt.question)):
        if not value.strip():
            raise DataError(f"{path}:{number}: {field}: it is blank; fill it in or delete the line.")
    if any("\0" in value for value in (prompt.id, prompt.question, *(turn.text for turn in prompt.history))):
        raise DataError(f"{path}:{number}: question: it contains the NUL character; remove it.")
    return prompt
