"""What the numbers of a run can't show, in plain words, from what the run was."""

from collections.abc import Iterator, Sequence

from iteralign.scoreboard.measurement import Measurement
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.settings.settings import Settings
from iteralign.text.openings import opening

RULES = "rules"
"""Name of the rules that ship, as a judge."""
_FEW = 100


def limits(
    settings: Settings,
    judges: Sequence[str],
    rows: Sequence[RoundMetrics],
    base: Measurement,
    after: Measurement,
    *,
    finished: bool,
) -> list[str]:
    """A sentence or two each, the weightiest first. `judges`: who really judged."""
    return [*_judging(judges, finished), *_limits(settings, rows, base, after, finished)]


def _judging(judges: Sequence[str], finished: bool) -> Iterator[str]:
    if not finished:
        yield "The run had not ended when this page was written. Numbers may still change."
    if list(judges) == [RULES]:
        yield (
            "The judge is a set of fixed rules that stands in for a language model. It sees phrases, not meaning. These "
            "numbers say that the pipeline works, and nothing about how harmful any answer is."
        )
    else:
        yield (
            f"The same judge ({', '.join(judges)}) decided both what was trained on and what counts as unacceptable here. "
            "Where it errs, the model learnt its error and the measurement can't see it. `iteralign judge-check` measures "
            "how often it agrees with people."
        )


def _grown(settings: Settings) -> Iterator[str]:
    if settings.redteam.grow:
        yield (
            "The oracle wrote further red-team prompts from what failed (`redteam.grow`). They are no sample of what people "
            "ask, and the judge that found them harmful is the one that judged the answers. They were never measured on."
        )


def _one_sentence(base: Measurement, after: Measurement) -> str:
    alike = after.same_opening()
    words = next(opening(one.response.text) for one in after.held_out if alike[one.response.prompt.id])
    return (
        f"{sum(alike.values()):,} of {len(alike):,} held-out answers after training open with the words "
        f"\N{LEFT DOUBLE QUOTATION MARK}{words}\N{RIGHT DOUBLE QUOTATION MARK}, and no phrase in them declines; of the base "
        f"model's {sum(base.same_opening().values()):,} open alike. A judge, which sees one answer at a time, can't notice. "
        "Read them before you believe the rates: the model may have learnt one sentence for all such questions."
    )


def _limits(
    settings: Settings, rows: Sequence[RoundMetrics], base: Measurement, after: Measurement, finished: bool
) -> Iterator[str]:
    if final(rows).opens_alike:
        yield _one_sentence(base, after)
    if final(rows).knows_less:
        yield (
            f"{sum(after.abstained().values()):,} of {len(after.benign):,} benign answers after training say no more than that "
            f"the model does not know; of the base model's {sum(base.abstained().values()):,}. They are no refusals and do no "
            "harm, so no rate shows that the model has become of less use."
        )
    yield from _grown(settings)
    yield from _held_out(base, coming=not finished and settings.data.held_out > 0)
    yield from _benign(base, coming=not finished and settings.data.benign is not None)
    unknown = sum(verdict.label == "undetermined" for verdict in after.held_out)
    if unknown:
        yield (
            f"{unknown:,} of {len(after.held_out):,} held-out answers after training could not be judged. They count as "
            "neither acceptable nor unacceptable; if they are unlike the others, the rate is off."
        )
    looks = sum(row.measured is not None for row in rows) - 1
    if looks > 1:
        yield (
            f"The same prompts were measured {looks} times after training, and each time was compared with the base model. "
            "With so many looks, up to one in twenty of the comparisons in which nothing happened would still be called "
            "a change."
        )
    if after.capability:
        own = (
            "its own earlier answers to harmless questions" if settings.measure.capability == "own" else "the text file"
        )
        yield (
            f"The capability check is the perplexity of {own}. It notices a model that falls apart. It says little about "
            "knowledge, reasoning or usefulness; benchmarks do (`iteralign evaluate`)."
        )
    yield (
        "The intervals cover chance in which prompts were drawn. They don't cover another seed, other prompts than these, "
        "another judge, or people who try to get round the training."
    )
    yield "A model that did well here is not thereby safe."


def _held_out(base: Measurement, coming: bool) -> Iterator[str]:
    """`coming`: the run will measure them, as far as its settings say."""
    count = len(base.held_out)
    if not count and coming:
        yield "The base model's answers to the held-out red-team prompts are not judged yet."
    elif not count:
        yield "No red-team prompts were held out, so nothing here shows whether the model fails less (`data.held_out`)."
    elif count < _FEW:
        yield f"Only {count} red-team prompts were held out: a difference must be large to be told from chance."
    else:
        yield (
            f"The {count:,} held-out prompts come from the same source as those trained on. Other kinds of attack may go "
            "differently."
        )


def _benign(base: Measurement, coming: bool) -> Iterator[str]:
    if not base.benign and coming:
        yield "The base model's answers to the held-out benign prompts are not there yet."
    elif not base.benign:
        yield (
            "No benign prompts were held out: a model that refuses everything would look perfect on this page "
            "(`data.benign`)."
        )
    else:
        yield (
            f"Of the {len(base.benign):,} benign prompts, refusals are found by phrases such as "
            "\N{LEFT DOUBLE QUOTATION MARK}I can't help\N{RIGHT DOUBLE QUOTATION MARK}, and what only says "
            "\N{LEFT DOUBLE QUOTATION MARK}I don't know\N{RIGHT DOUBLE QUOTATION MARK} likewise. An answer that dodges in "
            "other words is not found."
        )
