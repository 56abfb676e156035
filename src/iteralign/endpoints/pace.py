"""How fast an endpoint wants to be asked, as it says itself: in the headers of its answers, and by 429."""

import re
import threading
import time
from collections.abc import Mapping

_LONGEST_HOLD = 60.0  # seconds; then a call is tried anyway, and its answer says what is the matter
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMITS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),  # OpenAI and many that copy it
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("ratelimit-remaining", "ratelimit-reset"),  # an early draft of the IETF's
)


class CallPace:
    """Holds the calls to one endpoint back until it takes them again. Safe for threads."""

    def __init__(self) -> None:
        self._open_at = 0.0
        self._lock = threading.Lock()

    def told(self, headers: Mapping[str, str]) -> None:
        """Look at an answer's headers: where nothing is left of a limit, no call is sent before it is renewed."""
        for left, renewed in _LIMITS:
            if headers.get(left, "").strip() == "0":
                self.hold(seconds(headers.get(renewed, "")))

    def hold(self, pause: float) -> None:
        """Send no call for so many seconds."""
        until = time.monotonic() + min(pause, _LONGEST_HOLD)
        with self._lock:
            self._open_at = max(self._open_at, until)

    def wait(self, stop: threading.Event) -> bool:
        """Wait until a call may be sent; True if `stop` was set meanwhile."""
        while (left := self._open_at - time.monotonic()) > 0:
            if stop.wait(left):
                return True
        return stop.is_set()


def seconds(text: str) -> float:
    """`1s`, `6m0s`, `20ms`, or a plain number of seconds; 0 for what can't be read."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if parts and "".join(number + unit for number, unit in parts) == text.strip():
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
