"""Settings of the red team: which prompts a round asks."""

from typing import Literal

from pydantic import Field

from iteralign.settings.section import Section


class RedTeamSettings(Section):
    """How the prompts of a round are chosen from those not asked yet (docs/redteam.md)."""

    order: Literal["file", "shuffled", "seeking"] = "file"
    """file: in the order of the prompts (the paper); shuffled: by chance, each as likely as any other; seeking: rather those
    that are likely to fail, by what the run has judged. The last two record each draw with its probability."""
    explore: float = Field(default=0.2, gt=0, le=1)
    """With seeking: share of the draws in which each prompt is as likely as any other. The larger, the surer the estimated
    rates, and the fewer failures are found."""
