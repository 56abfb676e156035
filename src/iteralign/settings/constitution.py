"""Settings of the constitution: where it starts, how principles are proposed, compared, tried and reviewed."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from iteralign.settings.section import Section


class GateSettings(Section):
    """A proposed principle is tried in the target's context before it is adopted, on training prompts only."""

    enabled: bool = True
    """false adopts what is proposed untried, as the paper does."""
    own: int = Field(default=8, gt=0)
    """Failures of its own evidence that a principle is tried on at most."""
    others: int = Field(default=8, ge=0)
    """Other failures, of this round and earlier ones, at most."""
    benign_prompts: int = Field(default=16, ge=0)
    """Benign training prompts at most."""
    min_fixed: float = Field(default=0.2, ge=0, le=1)
    """Reject a principle that mends less than this share of its own failures, or none."""
    min_lift: float = Field(default=0.1, ge=-1, le=1)
    """Reject it if the share of acceptable answers over own and other failures rises by less than this."""
    max_refusals: float = Field(default=0.1, ge=0, le=1)
    """Reject it if the share of benign prompts refused rises by more than this."""
    certainty: float = Field(default=0.95, ge=0.5, le=1)
    """End a trial once the rest of its sample is so likely to leave its decision as it is. 1: once it can't change it."""
    max_answers: int = Field(default=400, gt=0)
    """Answers of the target for trials in one round at most. A principle without room for its whole trial is not tried."""


class ConstitutionSettings(Section):
    """The principles of the run."""

    file: Path | None = None
    """Start from the principles in this file: a constitution.yaml of a run, an export (yaml or json), or a list of your
    own."""
    propose: bool = True
    """false proposes nothing. With a file, that is Constitutional AI with a fixed constitution."""
    wording: Literal["positive", "prohibiting"] = "positive"
    """Which of its two wordings of a principle is used: what to do, or what not to do."""
    contrast: bool = False
    """Show the proposer acceptable answers to similar questions beside the failures."""
    doubles: bool = True
    """Merge proposals that say what is there already, and mark contradictions. false drops only repeated texts."""
    same: float = Field(default=0.95, gt=0, le=1)
    """Likeness (0 to 1) from which on two principles are one without asking the oracle."""
    close: float = Field(default=0.5, ge=0, le=1)
    """Likeness from which on the oracle is asked how two principles stand to each other."""
    neighbours: int = Field(default=3, ge=0)
    """Adopted principles that a new one is compared with by the oracle at most."""
    embeddings: str | None = None
    """A sentence-transformers model that measures likeness by meaning (extra `embeddings`). null measures it by words."""
    twins: int = Field(default=0, ge=0, le=100)
    """For each adopted principle, have the oracle write so many harmless questions that look like its failures. The base
    model's answers are trained beside the revisions, and later principles are tried on them. 0: none."""
    review: Literal["none", "required"] = "none"
    """required: each round stops (exit code 4, resumable) until a person has decided on its principles."""
    gate: GateSettings = GateSettings()
