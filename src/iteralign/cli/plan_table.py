"""The plan as a table."""

from rich.table import Table

from iteralign.config import Settings
from iteralign.plan import Plan, Range, size_text


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
    table.add_row("generated tokens", str(plan.generated_tokens), "at most")
    gate = settings.constitution.gate
    if gate.enabled:
        table.add_row(
            "trial answers",
            str(plan.trial_answers),
            f"of new principles, {gate.max_answers} a round at most",
        )
    table.add_row("training rows", str(plan.trained_rows), f"x {settings.training.epochs} epochs")
    if plan.parameters is not None and plan.trained_parameters is not None:
        share = f"{plan.trained_parameters:,} trained ({settings.training.method})"
        table.add_row("parameters", f"{plan.parameters:,}", share)
    if plan.memory_bytes is not None:
        table.add_row(
            "memory, training", size_text(plan.memory_bytes), "weights, gradients, optimiser; activations extra"
        )
    if plan.disk_bytes is not None:
        table.add_row("disk", _sizes(plan.disk_bytes), "run directory with RUN/model")
    if plan.too_long:
        listed = ", ".join(plan.too_long[:5]) + (" ..." if len(plan.too_long) > 5 else "")
        table.add_row("[yellow]too long[/]", f"{len(plan.too_long):,}", f"don't fit the context, not judged: {listed}")
    return table


def _sizes(sizes: Range) -> str:
    return f"{size_text(sizes.least)} to {size_text(sizes.most)}"
