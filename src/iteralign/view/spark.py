"""A curve as small as a word."""

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _EDGE = 90, 22, 3


def spark(values: Sequence[float]) -> Markup:
    """Shares from 0 to 1 as an SVG; nothing of fewer than two."""
    if len(values) < 2:
        return Markup()
    step = (_WIDTH - 2 * _EDGE) / (len(values) - 1)
    places = [(_EDGE + step * n, _EDGE + (_HEIGHT - 2 * _EDGE) * (1 - value)) for n, value in enumerate(values)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    said = f"unacceptable held-out answers: {100 * values[0]:.0f}% first, {100 * values[-1]:.0f}% now"
    return Markup(
        f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}">'
        f'<polyline points="{points}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/></svg>'
    )
