"""The base of all settings."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

LARGEST = 10**12
"""Of any number in the settings. Beyond it no setting means anything, and libraries fail in ways of their own."""
LARGEST_SEED = 2**31 - 1
"""Seeds go to libraries that take 32 bits."""


class Section(BaseModel):
    """No unknown keys, immutable; every number is finite and within reason. No error repeats a value: it may be a key."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*")
    @classmethod
    def _within_reason(cls, value: Any) -> Any:
        if isinstance(value, int | float) and abs(value) > LARGEST:
            raise ValueError(f"must be at most {LARGEST:,}")
        return value
