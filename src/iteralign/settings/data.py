"""Settings of what the target is asked, and of how a question becomes a text."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from iteralign.prompts.forms import FormName, Place
from iteralign.settings.section import Section


class DataSettings(Section):
    """The red-teaming prompts, and the benign ones that keep the model from learning to refuse."""

    prompts: str
    """hh-rlhf, harmfulqa, dangerousqa, hub:NAME, a file (JSONL, JSON, CSV, Parquet, text), or `demo`. `given`: they were
    handed over in Python."""
    path: Path | None = None
    """The local raw file of a named data set."""
    question_field: str | None = None
    """The column that holds the question, where it isn't found by itself."""
    turns: Literal["first", "last"] = "first"
    """For transcripts: the first human turn alone, or the conversation up to the last human turn."""
    limit: int | None = Field(default=None, gt=0)
    """Take at most this many prompts, after shuffling."""
    shuffle: bool = False
    """Shuffle them, by the seed. Without it the file's order is kept."""
    held_out: float = Field(default=0.2, ge=0, lt=1)
    """Share of the questions kept out of the loop to measure on. 0 measures nothing."""
    held_out_limit: int | None = Field(default=None, gt=0)
    """Measure on at most this many of the held-out questions, every category with its share."""
    benign: str | None = "demo"
    """Questions that a good model answers, from the same kinds of source. Two sets ship: `everyday`, for real models, and
    `demo`, whose questions the demo's model knows. null takes none."""
    benign_path: Path | None = None
    """The local raw file of a named benign set."""
    benign_limit: int = Field(default=400, gt=0)
    """Take at most this many benign prompts."""
    benign_held_out: float = Field(default=0.4, ge=0, lt=1)
    """Share of the benign prompts kept for measuring refusals."""


class FormSettings(Section):
    """How a question becomes the text that the target continues."""

    name: FormName = "plain"
    """plain transcript, chat (the tokenizer's template), cot, cou, or file (your own)."""
    principles: Literal["auto"] | Place = "after"
    """Where principles stand: after the question (the paper) or before it, as rules for an assistant, in the system message
    of a chat, or (few-shot, for a base model) at the head of a conversation with examples of answers that follow them. auto
    tries all places before the first round and takes the best for this model."""
    texts: Path | dict[str, Path] | None = None
    """Texts of your own in place of ours (docs/extending.md): a directory that has them under our names, or a file for each by
    its name. `file` needs the text `template`, with {question} in it."""
