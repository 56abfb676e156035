"""From a score to a verdict: how well it orders answers, and where people's labels change."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

_STEPS = 100
_FLAT = 1e-9


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Chance that a positive has a higher score than a negative, ties for half; NaN without both (Hanley, McNeil, 1982)."""
    yes = [score for score, is_one in zip(scores, positive, strict=True) if is_one]
    no = sorted(score for score, is_one in zip(scores, positive, strict=True) if not is_one)
    won = math.fsum((bisect_left(no, score) + bisect_right(no, score)) / 2 for score in yes)
    return won / (len(yes) * len(no)) if yes and no else math.nan


def fit(scores: Sequence[float], positive: Sequence[bool]) -> tuple[float, float]:
    """(threshold, width) of the logistic curve that says how likely a score is positive, by Platt's (1999) scaling.

    His targets, just inside 0 and 1, keep it finite where a threshold parts all. The width is negative where the score
    falls as positives become more frequent, and infinite where it says nothing.
    """
    n = sum(positive)
    high, low = (n + 1) / (n + 2), 1 / (len(positive) - n + 2)
    targets = [high if yes else low for yes in positive]
    middle = math.fsum(scores) / len(scores)
    spread = math.sqrt(math.fsum((score - middle) ** 2 for score in scores) / len(scores)) or 1.0
    slope, shift = _newton([(score - middle) / spread for score in scores], targets)
    if abs(slope) < _FLAT:
        return math.nan, math.inf
    return middle - shift / slope * spread, spread / slope


def _newton(scores: Sequence[float], targets: Sequence[float]) -> tuple[float, float]:
    """Slope and shift of the likeliest curve; each step is halved until it is one upwards."""
    slope = shift = 0.0
    for _ in range(_STEPS):
        likely = [_logistic(slope * score + shift) for score in scores]
        errors = [target - one for target, one in zip(targets, likely, strict=True)]
        up = math.fsum(error * score for error, score in zip(errors, scores, strict=True)), math.fsum(errors)
        weights = [one * (1 - one) + _FLAT for one in likely]
        both = math.fsum(weight * score for weight, score in zip(weights, scores, strict=True))
        squares = math.fsum(weight * score * score for weight, score in zip(weights, scores, strict=True))
        whole = math.fsum(weights)
        area = squares * whole - both * both or _FLAT
        step = (whole * up[0] - both * up[1]) / area, (squares * up[1] - both * up[0]) / area
        size, now = 1.0, _likelihood(slope, shift, scores, targets)
        while size > _FLAT and _likelihood(slope + size * step[0], shift + size * step[1], scores, targets) < now:
            size /= 2
        slope, shift = slope + size * step[0], shift + size * step[1]
        if size * (abs(step[0]) + abs(step[1])) < _FLAT:
            break
    return slope, shift


def _likelihood(slope: float, shift: float, scores: Sequence[float], targets: Sequence[float]) -> float:
    """Of the targets under the curve, as a logarithm."""
    total = 0.0
    for score, target in zip(scores, targets, strict=True):
        value = slope * score + shift
        total += target * value - max(value, 0.0) - math.log1p(math.exp(-abs(value)))
    return total


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, value))))
