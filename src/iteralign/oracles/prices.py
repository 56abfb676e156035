"""What a model's tokens cost at an endpoint. A price belongs to both: two servers may call different models by one name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from iteralign.errors import ConfigError
from iteralign.settings.oracle import LOCAL
from iteralign.text.bounded import load_yaml, read_text

_LOOK = "{input: 2.5, output: 10} or {input: 2.5, cached_input: 1.25, output: 10}, in dollars per million tokens"


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens; `cached_input` is for prompt tokens that the endpoint did not have to read again."""

    input: float
    output: float
    cached_input: float | None = None
    """None where it is unknown: then the full price counts."""

    def cost(self, prompt_tokens: int, completion_tokens: int, reused_tokens: int = 0) -> float:
        """US dollars; `reused_tokens` are among the prompt's."""
        reused = self.input if self.cached_input is None else self.cached_input
        read = (prompt_tokens - reused_tokens) * self.input + reused_tokens * reused
        return (read + completion_tokens * self.output) / 1e6


@dataclass(frozen=True)
class PriceTable:
    """Prices by endpoint and model, and those of models that cost the same wherever they are asked."""

    by_endpoint: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)
    anywhere: Mapping[str, Price] = field(default_factory=dict)

    def of(self, base_url: str, model: str) -> Price | None:
        """None where the price is unknown; a model of this process costs nothing."""
        if base_url == LOCAL:
            return Price(0.0, 0.0)
        there = self.by_endpoint.get(base_url.rstrip("/"), {})
        return there.get(model) or self.anywhere.get(model)


def load_prices(path: Path | str | None = None) -> PriceTable:
    """The price table shipped with iteralign, or the user's own in its place. Raises ConfigError.

    An entry is either an address with a table of the models there, or a model with its price, which then holds at every
    endpoint. The shipped table has no entry of the second kind.
    """
    if path is None:
        text, label = resources.files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8"), "prices.yaml"
    else:
        label = str(path)
        try:
            text = read_text(Path(path))
        except (OSError, ValueError) as error:
            raise ConfigError(f"The price table {path} can't be read: {error}.") from error
    try:
        table = load_yaml(text) or {}
    except ValueError as error:
        raise ConfigError(f"The price table {label} can't be read: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"The price table {label} must map addresses to models, or models to prices.")
    addresses = {name for name in map(str, table) if name.startswith(("http://", "https://"))}
    entries = {str(name): entry for name, entry in table.items()}
    return PriceTable(
        {name.rstrip("/"): _models(entries[name], f"{label}, {name}") for name in addresses},
        _models({name: entry for name, entry in entries.items() if name not in addresses}, label),
    )


def _models(entries: object, label: str) -> dict[str, Price]:
    if not isinstance(entries, dict):
        raise ConfigError(f"{label}: below an address stand models with their prices: gpt-4o: {_LOOK}.")
    return {str(model): _price(entry, str(model), label) for model, entry in entries.items()}


def _price(entry: object, model: str, label: str) -> Price:
    if isinstance(entry, dict) and {"input", "output"} <= set(entry) <= {"input", "output", "cached_input"}:
        values = entry.values()
        if all(type(value) in (int, float) and math.isfinite(value) and value >= 0 for value in values):
            price = Price(**{str(name): float(value) for name, value in entry.items()})
            if (
                price.cached_input or 0.0
            ) <= price.input:  # else a budget, which reserves the full price, could be passed
                return price
    raise ConfigError(f"{label}: the price of {model} must look like {_LOOK} (cached_input at most input).")
