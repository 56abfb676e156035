"""Settings of the red team: which prompts a round asks."""

from typing import Literal

from pydantic import Field, model_validator

from iteralign.prompts.forms import FormName
from iteralign.settings.section import Section


class RedTeamSettings(Section):
    """How the prompts of a round are chosen from those not asked yet (docs/redteam.md)."""

    order: Literal["file", "shuffled", "seeking"] = "file"
    """file: in the order of the prompts (the paper); shuffled: by chance, each as likely as any other; seeking: rather those
    that are likely to fail, by what the run has judged. The last two record each draw with its probability."""
    explore: float = Field(default=0.2, gt=0, le=1)
    """With seeking: share of the draws in which each prompt is as likely as any other. The larger, the surer the estimated
    rates, and the fewer failures are found."""
    forms: tuple[FormName, ...] = ()
    """Prompt forms that each prompt is asked in besides the run's own (form.name), each time as a prompt of its own."""
    grow: int = Field(default=0, ge=0, le=100)
    """After a round that failed, have the oracle write so many new prompts from what failed. 0: none."""
    stop: float | None = Field(default=None, gt=0, lt=1)
    """End the run when it is sure that fewer than this share of the prompts not asked yet would fail. null: ask all."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """How sure that has to be."""

    @model_validator(mode="after")
    def _grown_prompts_are_sought(self) -> "RedTeamSettings":
        if self.grow and self.order != "seeking":
            raise ValueError("redteam.grow writes prompts that the file does not have: set redteam.order to seeking")
        return self

    @model_validator(mode="after")
    def _sure_of_what_was_drawn(self) -> "RedTeamSettings":
        if self.stop is not None and self.order == "file":
            raise ValueError(
                "redteam.stop needs prompts that were drawn by chance: the first of a file say nothing of the rest. Set "
                "redteam.order to shuffled or seeking"
            )
        return self
