"""The findings of `iteralign doctor`, a line each as they come in."""

from collections.abc import Iterable

from iteralign.cli.console import out
from iteralign.preflight.findings import Examined, Finding

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def print_findings(findings: Iterable[Finding]) -> Examined:
    """Print each as it comes in, and their counts."""
    found = Examined.of(_printed(findings))
    failures = f"{found.failures} failures" if found.failures != 1 else "1 failure"
    warnings = f"{found.warnings} warnings" if found.warnings != 1 else "1 warning"
    out.print(f"\n{found.ok} ok, {warnings}, {failures}")
    return found


def _printed(findings: Iterable[Finding]) -> Iterable[Finding]:
    for finding in findings:
        _print(finding)
        yield finding


def _print(finding: Finding) -> None:
    out.print(f"{finding.state:<5}", style=_STYLE[finding.state], end="")
    out.print(f"{finding.topic:<16}{finding.found}", markup=False, soft_wrap=True)
    if finding.advice:
        out.print(f"     {'':<16}{finding.advice}", markup=False, soft_wrap=True, style=_STYLE[finding.state])
