"""The plan as a table."""

from rich.table import Table

from iteralign.files import size_text
from iteralign.preflight.cost import Budget, Range
from iteralign.preflight.plan import Plan
from iteralign.settings.settings import Settings


def plan_table(plan: Plan, settings: Settings) -> Table:
    """One line per quantity; a range goes from no failure to nothing but failures."""
    table = Table(title="Plan", title_justify="left", title_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    size = settings.rounds.prompts
    table.add_row("prompts", f"{plan.prompts:,}", f"held out {plan.held_out:,}")
    table.add_row("benign prompts", f"{plan.benign:,}", f"held out {plan.benign_held_out:,}")
    table.add_row("rounds", f"{plan.rounds:,}", f"of {size:,} prompts, {settings.revision.tries} tries a failure")
    table.add_row("oracle calls", str(plan.oracle_calls), "repairs and retries apart; cached replies cost nothing")
    table.add_row("oracle tokens", str(plan.oracle_tokens), "about")
    table.add_row("oracle cost", *_cost(plan))
    table.add_row("generated tokens", str(plan.generated_tokens), "at most")
    gate = settings.constitution.gate
    if gate.enabled:
        table.add_row(
            "trial answers",
            str(plan.trial_answers),
            f"of new principles, {gate.max_answers} a round at most",
        )
    table.add_row("training rows", str(plan.trained_rows), f"x {settings.training.epochs} epochs")
    share = f"{plan.trained_parameters:,} trained ({settings.training.method})"
    table.add_row("parameters", f"{plan.parameters:,}", share)
    table.add_row("memory, training", size_text(plan.memory_bytes), "weights, gradients, optimiser; activations extra")
    if settings.trains_apart:
        table.add_row(
            "memory, a process", size_text(plan.process_bytes), f"of {settings.training_processes} that train"
        )
    if plan.answering_bytes:
        what = "weights, cache of many answers" if settings.model.engine == "vllm" else "weights; the answers extra"
        table.add_row("memory, answering", size_text(plan.answering_bytes), what)
    table.add_row("memory, machine", size_text(plan.host_bytes), "what computes or waits there; libraries extra")
    table.add_row("disk", _sizes(plan.disk_bytes), "run directory with RUN/model")
    table.add_row("time", *_time(plan))
    if plan.too_long:
        listed = ", ".join(plan.too_long[:5]) + (" ..." if len(plan.too_long) > 5 else "")
        table.add_row("[yellow]too long[/]", f"{len(plan.too_long):,}", f"don't fit the context, not judged: {listed}")
    return table


def steps_table(plan: Plan) -> Table:
    """What the oracle is asked for."""
    table = Table(title="The oracle, by step", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name in ("", "calls", "tokens read", "tokens written", "cost"):
        table.add_column(name, justify="right" if name else "left")
    for step in plan.oracle_steps:
        numbers = [str(number) for number in (step.calls, step.prompt_tokens, step.completion_tokens)]
        table.add_row(step.step, *numbers, "unknown" if step.cost is None else str(step.cost))
    return table


def remarks(plan: Plan) -> list[str]:
    """What the budgets will do, and what was measured."""
    found = [_budget(budget) for budget in plan.budgets]
    if plan.time is not None:
        one = plan.time.measurement
        asked = f", {one.verdict_tokens:,} tokens, {_spent(one.verdict_cost)}" if one.verdict_tokens else ""
        found.append(
            f"Measured here ({one.device}): {one.answers} answers of {one.answer_tokens:.0f} tokens, {one.answer:.2g} s each; "
            f"a training row {one.row:.2g} s, a training {one.training:.2g} s beside its rows; one verdict "
            f"{one.verdict:.2g} s{asked}, not cached. The range goes from no failure to every try being used."
        )
    return found


def _cost(plan: Plan) -> tuple[str, str]:
    if not plan.oracle_steps:
        return "$0", "no endpoint is asked"
    if plan.oracle_cost is None:
        return "unknown", "a model's price is not in the table: oracle.prices_file"
    return str(plan.oracle_cost), "by the price table; repairs and retries apart"


def _spent(cost: float | None) -> str:
    return "price unknown" if cost is None else f"${cost:.4f}"


def _budget(budget: Budget) -> str:
    value = f"${budget.value:g}" if budget.setting == "oracle.cost_budget" else f"{budget.value:,.0f}"
    says = {
        "no": "is above the estimate",
        "maybe": "may be reached: the run then stops, and `iteralign resume` goes on with a higher one",
        "surely": "is below the least estimate: the run will stop there",
        None: "can't be held against an unknown price",
    }[budget.reached]
    return f"{budget.setting} {value} {says}."


def _time(plan: Plan) -> tuple[str, str]:
    if plan.time is None:
        return "not measured", "measure with --measure: a minute or more"
    return f"{_duration(plan.time.least)} to {_duration(plan.time.most)}", "by what was measured here, see below"


def _duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _sizes(sizes: Range) -> str:
    return f"{size_text(sizes.least)} to {size_text(sizes.most)}"
