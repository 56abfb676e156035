"""The base of all settings."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """No unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
