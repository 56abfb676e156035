"""A source -> prompts: read, filtered, doubles removed, ordered, and a part held out. Start reading here."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from iteralign.data.given import Questions
from iteralign.data.questions import Question, find_field, keep_where, read_question
from iteralign.data.sources import slug, source_rows
from iteralign.data.split import split_held_out, turns_key, without_questions_of
from iteralign.errors import DataError
from iteralign.records import RedTeamPrompt, many


@dataclass(frozen=True)
class Prepared:
    """A prompt set made ready, and what was done to get it."""

    source: str
    prompts: tuple[RedTeamPrompt, ...]
    """To red-team and train on."""
    held_out: tuple[RedTeamPrompt, ...]
    """To measure on; no question of `prompts` is among them."""
    read: int
    """Rows read, after the filter."""
    filtered: int
    """Rows that the filter left out."""
    skipped: int
    """Transcripts in which nobody asks anything."""
    duplicates: int
    """Exact doubles removed."""
    left_out: int
    """Prompts beyond `limit`."""
    leaking: int = 0
    """Conversations left out because a held-out question is asked in them."""

    def counts(self) -> dict[str, int]:
        """What to print, in order: read - skipped - doubles - beyond the limit - left out = prompts + held out."""
        return {
            "read": self.read,
            "left out by the filter": self.filtered,
            "skipped (no question)": self.skipped,
            "doubles removed": self.duplicates,
            "beyond the limit": self.left_out,
            "left out, a held-out question in them": self.leaking,
            "prompts": len(self.prompts),
            "held out": len(self.held_out),
        }

    def categories(self) -> dict[str, int]:
        """Prompts, held-out ones included, by category; the most frequent first, without those that have none."""
        named = Counter(prompt.category for prompt in (*self.prompts, *self.held_out) if prompt.category is not None)
        return dict(named.most_common())


@many()
def prepare(
    source: str | Questions,
    path: Path | str | None = None,
    *,
    held_out_share: float | None = None,
    held_out_count: int | None = None,
    split: str | None = None,
    question_field: str | None = None,
    turns: Literal["first", "last"] = "first",
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    shuffle: bool = False,
    benign: bool = False,
) -> Prepared:
    """Load a source as `load_prompts` does, hold out a share or a number of its questions, and count.

    Raises DataError for whatever is wrong with the source or the options, MissingExtraError.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1.")
    if turns not in ("first", "last"):
        raise DataError(f"turns is {turns!r}; choose first or last.")
    name, rows = source_rows(source, None if path is None else Path(path), split)
    kept = rows if where is None else keep_where(rows, where)
    field = find_field(kept, question_field)
    distinct, asked = _without_doubles((read_question(row, field, turns) for row in kept), name, benign)
    if not asked:
        raise DataError(f"{kept[0].where}: in none of the {len(kept)} rows does anybody ask anything.")
    _check_generated_ids(distinct)
    ordered = list(distinct)
    if shuffle:
        random.Random(seed).shuffle(ordered)
    limited = ordered[:limit]
    train, held_out = limited, list[RedTeamPrompt]()
    if held_out_share is not None or held_out_count is not None:
        train, held_out = split_held_out(limited, share=held_out_share, count=held_out_count, seed=seed)
    clean = without_questions_of(train, held_out)
    return Prepared(
        source=name,
        prompts=tuple(clean),
        held_out=tuple(held_out),
        read=len(kept),
        filtered=len(rows) - len(kept),
        skipped=len(kept) - asked,
        duplicates=asked - len(distinct),
        left_out=len(distinct) - len(limited),
        leaking=len(train) - len(clean),
    )


def load_prompts(
    source: str | Questions,
    path: Path | str | None = None,
    *,
    split: str | None = None,
    question_field: str | None = None,
    turns: Literal["first", "last"] = "first",
    where: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    shuffle: bool = False,
    benign: bool = False,
) -> list[RedTeamPrompt]:
    """The questions of a source, exact doubles removed, in its own order unless `shuffle`.

    source: hh-rlhf, harmfulqa or dangerousqa (from the hub, or from the file at `path`), hub:NAME[:CONFIG][@SPLIT],
        everyday (the harmless questions that ship), or the path of a JSONL, JSON, CSV, TSV, Parquet, text or plain-data
        pickle file, also as .gz. Or the questions themselves: a list of strings, of records, or a datasets.Dataset.
    split: the split on the hub, "train" if not said.
    question_field: the column with the question; looked for among the usual names if not said.
    turns: of a conversation the first human turn, or everything up to the last one.
    where: "column=value": only these rows.
    limit: at most so many, after `shuffle` with `seed`.
    benign: these are questions that a good model answers.

    White space around a question is taken off; nothing else in it is changed. Raises DataError, MissingExtraError.
    """
    options: dict[str, Any] = {"split": split, "question_field": question_field, "turns": turns, "where": where}
    return list(prepare(source, path, limit=limit, seed=seed, shuffle=shuffle, benign=benign, **options).prompts)


def _without_doubles(questions: Iterable[Question], source: str, benign: bool) -> tuple[list[RedTeamPrompt], int]:
    """The first of those that ask the same after the same conversation; and how many ask anything. One after another: of a
    large file the rest is not kept."""
    first: dict[str, RedTeamPrompt] = {}
    ids: dict[str, str] = {}
    prefix, asked = slug(source), 0
    for question in questions:
        if not question.turns:
            continue
        asked += 1
        _check_id(question, ids)
        key = turns_key(question.turns)
        if key not in first:
            first[key] = _prompt(question, key, source, prefix, benign)
    return list(first.values()), asked


def _prompt(question: Question, key: str, source: str, prefix: str, benign: bool) -> RedTeamPrompt:
    *history, last = question.turns
    told: dict[str, Any] = {}  # a field that is not named takes less memory and time, of which a large set has much
    if history:
        told["history"] = tuple(history)
    if question.category is not None:
        told["category"] = question.category
    if benign or question.benign:
        told["benign"] = True
    return RedTeamPrompt(
        id=question.own_id or f"{prefix}-{hashlib.sha256(key.encode()).hexdigest()[:12]}",
        question=last.text,
        source=source,
        **told,
    )


def _check_id(question: Question, seen: dict[str, str]) -> None:
    """`seen`: where each id stands so far."""
    if question.own_id is None:
        return
    if question.own_id in seen:
        raise DataError(
            f"{question.where}: the id {question.own_id!r} is also at {seen[question.own_id]}; give every row "
            "its own id, or delete the column."
        )
    seen[question.own_id] = question.where


def _check_generated_ids(prompts: Sequence[RedTeamPrompt]) -> None:
    """A row's own id may look like one of ours, as in a file that we wrote and somebody added rows to."""
    for identifier, times in Counter(prompt.id for prompt in prompts).items():
        if times > 1:
            raise DataError(
                f"The id {identifier!r} belongs to two different questions; delete the column `id` of the file."
            )
