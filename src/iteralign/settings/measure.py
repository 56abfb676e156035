"""Settings of the held-out measurement, and of what its figures lead to."""

from pydantic import Field

from iteralign.settings.section import Section


class MeasureSettings(Section):
    """The held-out measurement: unacceptable answers, benign refusals and a capability check."""

    every: int = Field(default=1, gt=0)
    """Measure after every so many rounds that trained; the base model and the last round are always measured."""
    capability: str | None = "own"
    """What the model should still predict well after training. own: its answers, as they were before training, to harmless
    held-out questions; a text file: its paragraphs; null measures nothing."""


class GuardRailSettings(Section):
    """When a measured round's training is thrown away for the best weights so far, and when the run ends early. A rise
    counts where it is significant (McNemar's exact test; for capability a bootstrap interval) and the lower end of its 95%
    interval lies above the number here. null turns a rail off."""

    benign: float | None = Field(default=0.1, ge=0)
    """Refusals of benign prompts against the base model's, as a share: what fewer unacceptable answers may cost."""
    capability: float | None = Field(default=0.5, ge=0)
    """Loss in the capability check against the base model's, in nats per token (0.5: perplexity times 1.65)."""
    collapse: float | None = Field(default=0.2, ge=0)
    """Degenerate answers, and benign prompts that all get one answer, against the base model's."""
    unacceptable: float | None = Field(default=0.0, ge=0)
    """Unacceptable held-out answers against the best weights so far: unlearning."""
    patience: int | None = Field(default=None, gt=0)
    """End the run when so many measured rounds in a row showed no improvement; null goes through all prompts."""
