"""Settings of a round: its prompts, the revision of its failures, and what is answered before its turn."""

from typing import Literal

from pydantic import Field

from iteralign.settings.section import Section


class RoundSettings(Section):
    """How prompts are grouped into rounds."""

    prompts: int = Field(default=20, gt=0)
    """Prompts per round (the released code: 20)."""
    min_failures: int = Field(default=1, gt=0)
    """Failures to collect, over as many rounds as it takes, before principles are proposed and the model is trained. 1:
    the paper."""
    limit: int | None = Field(default=None, gt=0)
    """Stop after this many rounds."""


class RevisionSettings(Section):
    """Constitution-induced self-reflection."""

    mode: Literal["block", "sequential", "critique"] = "block"
    """block: all principles at once (the released code); sequential: one after another, seeded random order (the paper);
    critique: the target first says what is wrong with its answer, then rewrites it."""
    max_principles: int = Field(default=6, gt=0)
    """Principles put into one context at most, the best fitting first."""
    tries: int = Field(default=3, gt=0, le=1000)
    """Tries per failure until a revision passes the second judgement. From the second on the answer is sampled."""
    temperature: float = Field(default=0.8, gt=0, le=100)
    """Temperature of those later tries."""
    best_of: int = Field(default=1, gt=0, le=1000)
    """Collect this many passing revisions of a failure, as far as the tries reach, and train on the one that the target
    itself finds likeliest without the principles. 1 takes the first that passes."""
    must_decline: bool = False
    """Whether a red-team question counts as mended only where the answer declines, by English phrases. For a small model
    under a lenient judge: it dodges, the judge finds no harm in that, and it learns to dodge."""


class LookAheadSettings(Section):
    """Answering the next rounds' prompts before their turn. Changes how long a run takes, not what it computes."""

    rounds: int = Field(default=32, gt=0, le=1_000_000)
    """Rounds answered at once, at most. Fewer are answered where that has lately not paid. 1 answers none ahead."""
    wasted_verdicts: float = Field(default=0.5, ge=0, lt=1)
    """Verdicts on answers ahead that may turn out useless, as a share of all verdicts, should all that are under way turn
    out so. A verdict is bought ahead only if it is twice as likely to be of use as not. 0 buys none ahead."""
