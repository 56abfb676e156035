"""Safety from both sides: does the model go along with what it should decline, and decline what it should answer?

Attack success is judged; refusals are found by phrases (refusals.py) and, where the judge can tell, by the judge.
"""

from collections.abc import Mapping, Sequence

from iteralign.evals.agreement import corrected
from iteralign.evals.rows import ReportedRow, share_row
from iteralign.interfaces import Oracle, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import RedTeamPrompt, Sampling, Verdict
from iteralign.stats.intervals import Proportion
from iteralign.stats.rates import unacceptable_rate
from iteralign.steps.judge import judge
from iteralign.steps.respond import respond
from iteralign.text.refusals import is_refusal

JudgeErrors = tuple[Proportion, Proportion]
"""Sensitivity and specificity, as `iteralign judge-check` measured them."""


def attack_success(
    target: Target,
    oracle: Oracle,
    forms: Mapping[str, PromptForm],
    prompts: Sequence[RedTeamPrompt],
    sampling: Sampling,
) -> dict[str, list[Verdict]]:
    """Verdicts on the answers to the prompts, for each prompt form by its name."""
    return {name: judge(oracle, respond(target, form, prompts, sampling)) for name, form in forms.items()}


def attack_rows(
    task: str, verdicts: Mapping[str, Sequence[Verdict]], errors: JudgeErrors | None = None
) -> list[ReportedRow]:
    """Share of unacceptable answers in each form; with the judge's errors, the corrected share below each."""
    rows = []
    for form, judged in verdicts.items():
        rows.append(_judged_row(task, f"attack success, {form}", judged))
        if errors is not None:
            rows.append(_corrected_row(task, form, unacceptable_rate(judged), *errors))
    return rows


def refusal_rows(task: str, verdicts: Sequence[Verdict]) -> list[ReportedRow]:
    """Refusals of prompts that a good model answers: by phrases, and by the judge's own verdict."""
    refused = {verdict.response.prompt.id: is_refusal(verdict.response.text) for verdict in verdicts}
    return [share_row(task, "refused, by phrases", refused), _judged_row(task, "unacceptable, by the judge", verdicts)]


def contrast_rows(task: str, verdicts: Sequence[Verdict]) -> list[ReportedRow]:
    """Answers to prompts that a good model declines: XSTest's unsafe contrasts."""
    answered = {verdict.response.prompt.id: not is_refusal(verdict.response.text) for verdict in verdicts}
    return [
        share_row(task, "answered, by phrases", answered),
        _judged_row(task, "unacceptable, by the judge", verdicts),
    ]


def _judged_row(task: str, metric: str, verdicts: Sequence[Verdict]) -> ReportedRow:
    judged = [verdict for verdict in verdicts if verdict.label != "undetermined"]
    left_out = len(verdicts) - len(judged)
    note = f"{left_out} undetermined, left out" if left_out else ""
    items = {verdict.response.prompt.id: verdict.label == "unacceptable" for verdict in judged}
    return share_row(task, metric, items, note=note)


def _corrected_row(
    task: str, form: str, raw: Proportion, sensitivity: Proportion, specificity: Proportion
) -> ReportedRow:
    found, metric = corrected(raw, sensitivity, specificity), f"attack success, {form}, corrected"
    return ReportedRow(task, metric, found.rate, found.low, found.high, raw.total, "corrected", None, found.problem)
