"""Prompt sets: from files and the hub to `RedTeamPrompt` records. Start reading in `prepare.py`."""

from iteralign.data.given import Questions
from iteralign.data.prepare import Prepared, load_prompts, prepare
from iteralign.data.prompt_file import read_prompts, write_prompts
from iteralign.data.sources import SOURCES
from iteralign.data.split import same_question_key, split_held_out

__all__ = [
    "SOURCES",
    "Prepared",
    "Questions",
    "load_prompts",
    "prepare",
    "read_prompts",
    "same_question_key",
    "split_held_out",
    "write_prompts",
]
