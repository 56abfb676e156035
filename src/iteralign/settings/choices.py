"""Names that a person chooses from on the command line. It imports nothing, since `--help` reads it."""

from typing import Literal

PairForm = Literal["sft", "dpo"]
"""Forms of a run's training pairs."""
ConstitutionForm = Literal["md", "yaml", "json", "system-prompt", "policy"]
"""Forms of a run's principles."""
Turns = Literal["first", "last"]
"""Of a transcript: the first human turn, or the conversation up to the last one."""
AnswerForm = Literal["plain", "chat"]
"""Prompt forms that `iteralign evaluate` asks by."""
