"""The discovered constitution as a guard's policy, and the reply that such a guard gives."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from iteralign.errors import ConfigError
from iteralign.layout import CONSTITUTION
from iteralign.oracles.reading import Said
from iteralign.text.bounded import load_yaml, read_text


class SafeguardReply(BaseModel):
    """What safeguard_policy.txt asks for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    violation: Literal[0, 1]
    principles: list[Annotated[int, Field(strict=True)]] = []
    rationale: Said = ""


def policy_principles(path: Path) -> list[str] | None:
    """The principles of a constitution.yaml; None for a file that is none. Raises ConfigError."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The policy {path} can't be read: {error}.") from error
    if path.suffix not in (".yaml", ".yml"):
        return None
    try:
        data = load_yaml(text)
        texts = [str(entry["text"]) for entry in data["principles"] if entry.get("status", "adopted") == "adopted"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"The policy {path} is no {CONSTITUTION}: it needs `principles` with a `text` each."
        ) from error
    if not texts:
        raise ConfigError(f"The policy {path} has no adopted principle.")
    return texts
