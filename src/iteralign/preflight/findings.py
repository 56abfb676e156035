"""What the doctor says: a line each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty where nothing needs doing."""


@dataclass(frozen=True)
class Examined:
    """All that was found."""

    findings: list[Finding]
    ok: int
    warnings: int
    failures: int

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> "Examined":
        """The findings with their counts."""
        listed = list(findings)
        states = [finding.state for finding in listed]
        return cls(listed, states.count("ok"), states.count("warn"), states.count("fail"))
