"""What draws say of the prompts that were not drawn."""

from iteralign.records import Draw
from iteralign.stats.weighted import WeightedDraw


def weighted(draw: Draw, failed: bool) -> WeightedDraw:
    """A draw and what came of it, as it counts for the prompts not asked yet."""
    return WeightedDraw(failed, 1 / (draw.probability * draw.unasked), 1 / (draw.least * draw.unasked))
