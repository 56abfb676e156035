"""Tokens and money: what each call took, what a run has spent, and where it must stop.

Every call is a line of RUN/oracle/calls.jsonl: a hash of the request, never its text or a key. The totals of a resumed
run are read back from it.
"""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from iteralign.errors import BudgetReached, ConfigError, CorruptFileError, RunDirectoryError
from iteralign.oracles.prices import PriceTable, load_prices
from iteralign.records import Spent
from iteralign.text.bounded import opened


@dataclass(frozen=True)
class Call:
    """One call of an oracle, as it stands in calls.jsonl."""

    request: str
    """Hash of the request's content."""
    step: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """US dollars; None where the price is unknown; 0 for a reply from the cache."""
    cached: bool
    """The reply came from the cache of replies, and nothing was sent."""
    outcome: str
    """answered, truncated, refused or failed."""
    attempts: int
    estimated: bool = False
    """True where the endpoint did not say how many tokens it used."""
    reused_tokens: int = 0
    """Of the prompt tokens, those that the endpoint did not have to read again, as far as it says so."""


@dataclass
class Total:
    """Sums over calls; `cost` leaves out the `unpriced` calls, whose price is unknown."""

    calls: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    known_cost: float = 0.0
    unpriced: int = 0
    reused_tokens: int = 0
    """Of `prompt_tokens`, those that the endpoints did not have to read again."""

    @property
    def tokens(self) -> int:
        """Tokens sent and received; replies from the cache took none."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> float | None:
        """US dollars; None as soon as one call's price is unknown."""
        return None if self.unpriced else self.known_cost

    def add(self, call: Call) -> None:
        self.calls += 1
        self.cached += call.cached
        self.failed += call.outcome == "failed"
        if call.cached:
            return
        self.prompt_tokens += call.prompt_tokens
        self.completion_tokens += call.completion_tokens
        self.reused_tokens += call.reused_tokens
        if call.cost is None:
            self.unpriced += 1
        else:
            self.known_cost += call.cost


_CALL = TypeAdapter(Call)


def read_calls(path: Path) -> list[Call]:
    """The calls in a file of calls; a last line that was cut off by a crash is left out. Raises CorruptFileError."""
    return list(each_call(path))


def each_call(path: Path) -> Iterator[Call]:
    """The same one after another: of a large run they are many."""
    return (call for call, _ in _calls_behind(path, 0, 0))


class CallsSoFar:
    """The total of a file of calls that grows: each line is read once, however often it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._total, self._bytes, self._lines = Total(), 0, 0

    def total(self) -> Total:
        """Of all calls that stand there now. Raises what `read_calls` does."""
        for call, end in _calls_behind(self.path, self._bytes, self._lines):
            self._bytes, self._lines = end, self._lines + 1
            self._total.add(call)
        return self._total


def _calls_behind(path: Path, begin: int, known: int) -> Iterator[tuple[Call, int]]:
    """The calls from a byte on, before which `known` lines stand, each with the byte behind it."""
    try:
        with opened(path) as file:
            file.seek(begin)
            for number, line in enumerate(file, start=known + 1):
                if not line.endswith(b"\n"):
                    return
                begin += len(line)
                yield _call_of(line, f"{path}, line {number}"), begin
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunDirectoryError(f"{path} can't be read: {error.strerror or error}.") from error


def _call_of(line: bytes, where: str) -> Call:
    try:
        return _CALL.validate_json(line, strict=True)
    except (ValueError, TypeError) as error:
        raise CorruptFileError(f"{where}: not a call of an oracle ({error}).") from error


def total_of(calls: Iterable[Call]) -> Total:
    """Of all calls."""
    found = Total()
    for call in calls:
        found.add(call)
    return found


def totals_by_step(calls: Iterable[Call]) -> dict[str, Total]:
    """One total per step, in the order in which the steps were first met."""
    steps: dict[str, Total] = {}
    for call in calls:
        steps.setdefault(call.step, Total()).add(call)
    return steps


class Account:
    """Counts calls, writes them down, and holds the budgets. Shared by all clients of a run; safe for threads.

    A call reserves what it may take at most before it is sent, so that calls under way together can't pass a budget.
    The estimate is 3 bytes a token, none of them reused, and the full length of the reply. Raises ConfigError for a
    budget in money and a model whose price is unknown.
    """

    def __init__(
        self,
        path: Path | None = None,
        prices: PriceTable | None = None,
        *,
        token_budget: int | None = None,
        cost_budget: float | None = None,
    ) -> None:
        self.path = path
        self.prices = load_prices() if prices is None else prices
        self.token_budget = token_budget
        self.cost_budget = cost_budget
        self._changed = threading.Condition()
        self._total = Total()
        self._reserved: list[tuple[int, float]] = []
        if path is not None:
            for call in read_calls(path):
                self._add(call)
            _cut_torn_line(path)

    def require_price(self, base_url: str, model: str) -> None:
        """Refuse a budget in money where the price is unknown: it could not be kept."""
        if self.cost_budget is not None and self.prices.of(base_url, model) is None:
            raise ConfigError(
                f"There is a budget of ${self.cost_budget:g}, but the price of {model} at {base_url} is unknown: add it to "
                "your price table (oracle.prices_file), or set one in tokens instead."
            )

    def cost(
        self, base_url: str, model: str, prompt_tokens: int, completion_tokens: int, reused_tokens: int = 0
    ) -> float | None:
        """US dollars, or None where the model's price at this endpoint is unknown."""
        price = self.prices.of(base_url, model)
        return None if price is None else price.cost(prompt_tokens, completion_tokens, reused_tokens)

    @contextmanager
    def reserved(self, base_url: str, model: str, prompt_tokens: int, completion_tokens: int) -> Iterator[None]:
        """Hold this much of what is left while a call is under way; waits for calls under way where it may help.

        Raises BudgetReached when the call might pass a budget.
        """
        cost = self.cost(base_url, model, prompt_tokens, completion_tokens)
        share = (prompt_tokens + completion_tokens, cost or 0.0)
        with self._changed:
            while (budget := self._passed_by(share)) is not None:
                if not self._reserved:
                    raise BudgetReached(
                        f"The budget of {budget} is reached: {self._total.tokens:,} tokens"
                        f"{self._cost_text()} spent so far, and the next call may need {share[0]:,} tokens more. "
                        "Everything answered is kept; raise it by `iteralign resume RUN --set oracle.token_budget=N` "
                        "(or oracle.cost_budget)."
                    )
                self._changed.wait()
            self._reserved.append(share)
        try:
            yield
        finally:
            with self._changed:
                self._reserved.remove(share)
                self._changed.notify_all()

    def record(self, call: Call) -> None:
        """Count a call and append it to the file. Raises RunDirectoryError where it can't be written."""
        line = json.dumps(asdict(call), ensure_ascii=True).encode() + b"\n"
        with self._changed:
            if self.path is not None:
                _append(self.path, line)
            self._add(call)

    def total(self) -> Total:
        """Over all steps."""
        with self._changed:
            return Total(**asdict(self._total))

    def spent(self) -> Spent:
        """The totals beside the budgets."""
        total = self.total()
        return Spent(
            tokens=total.tokens,
            cost=total.known_cost,
            unpriced=total.unpriced,
            token_budget=self.token_budget,
            cost_budget=self.cost_budget,
        )

    def _add(self, call: Call) -> None:
        self._total.add(call)

    def _passed_by(self, share: tuple[int, float]) -> str | None:
        tokens = self._total.tokens + sum(tokens for tokens, _ in self._reserved) + share[0]
        cost = self._total.known_cost + sum(cost for _, cost in self._reserved) + share[1]
        if self.token_budget is not None and tokens > self.token_budget:
            return f"{self.token_budget:,} tokens"
        if self.cost_budget is not None and cost > self.cost_budget:
            return f"${self.cost_budget:g}"
        return None

    def _cost_text(self) -> str:
        cost = self._total.cost
        return "" if cost is None else f" (${cost:.4f})"


def _append(path: Path, line: bytes) -> None:
    """The whole line, or none of it: a disk that fills up must not leave half of one before the next thread's."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            whole = file.tell()
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(path, whole)
                raise
    except OSError as error:
        raise RunDirectoryError(
            f"The oracle's calls can't be noted in {path}: {error.strerror or error}. What was answered is in the reply "
            "cache; make room or mend the permissions, then resume the run."
        ) from error


def _cut_torn_line(path: Path) -> None:
    """Remove what a crash left after the last newline, so that the next line starts cleanly."""
    if not path.exists():
        return
    try:
        with opened(path) as file:
            content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
    except OSError as error:
        raise RunDirectoryError(f"{path} can't be mended after a crash: {error.strerror or error}.") from error
