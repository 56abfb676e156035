"""The prompts to choose from, with what makes two of them alike: their kind, and their words."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iteralign.records import RedTeamPrompt

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_STEM = 5  # letters of a word that count: "stealing" and "steals" are both "steal"


class PromptPool:
    """The prompts of a run by their place in its file."""

    def __init__(self, prompts: Sequence[RedTeamPrompt]) -> None:
        self.prompts = list(prompts)
        self.place = {prompt.id: place for place, prompt in enumerate(prompts)}
        kinds = [(prompt.category or "", prompt.form or "") for prompt in prompts]
        number = {kind: number for number, kind in enumerate(sorted(set(kinds)))}
        self.kinds = np.array([number[kind] for kind in kinds], dtype=np.intp)
        """The kind of each: a number for its category in its form."""
        forms = [form for _, form in kinds]
        self._forms = np.array([sorted(set(forms)).index(form) for form in forms], dtype=np.intp)
        self._words(prompts)

    def _words(self, prompts: Sequence[RedTeamPrompt]) -> None:
        """The words of each as a row of length 1, a rare word more than a common one (tf-idf)."""
        said = [sorted(set(stems(prompt.question))) for prompt in prompts]
        prompts_with = Counter(word for words in said for word in words)
        column = {word: number for number, word in enumerate(sorted(prompts_with))}
        weight = {word: math.log((1 + len(prompts)) / prompts_with[word]) for word in column}
        self._starts = np.cumsum([0, *(len(words) for words in said)])
        self._columns = np.array([column[word] for words in said for word in words], dtype=np.intp)
        values = [[weight[word] for word in words] for words in said]
        lengths = [math.hypot(*row) or 1.0 for row in values]
        self._values = np.array([value / length for row, length in zip(values, lengths, strict=True) for value in row])
        self._rows = np.repeat(np.arange(len(prompts)), np.diff(self._starts))
        self._known = len(column)

    def likeness(self, place: int) -> Floats:
        """Of each prompt to the one at this place, 0 to 1: the cosine of their words, in the same form; 1 to itself."""
        own = slice(self._starts[place], self._starts[place + 1])
        words = np.zeros(self._known)
        words[self._columns[own]] = self._values[own]
        shared = self._values * words[self._columns]
        likeness = np.bincount(self._rows, weights=shared, minlength=len(self.prompts)).astype(np.float64)
        likeness[self._forms != self._forms[place]] = 0.0
        likeness[place] = 1.0
        return np.clip(likeness, 0.0, 1.0)


def stems(text: str) -> list[str]:
    """The beginnings of its words; each sign of a script without spaces between words is one."""
    return [word[:_STEM] for word in _WORD.findall(text.casefold())]
