"""How a run ended, in a sentence with figures: what became of it, why, and what to try. From its rows alone, so that the
terminal, the report and the card say the same."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from iteralign import layout
from iteralign.constitution.gate import in_short
from iteralign.records import Principle, Revision, Verdict
from iteralign.scoreboard.guard_rails import PROMPTS
from iteralign.scoreboard.metrics import RoundMetrics
from iteralign.steps.verify import ANSWERS, COPIED, OPENS, SHOWN, STOCK
from iteralign.text.degenerate import is_degenerate

NOTHING_TRAINED = 5
"""Exit code of a run that met failures, or could judge next to nothing, and ends with the weights it began with."""

_MOSTLY_UNDETERMINED = 0.8
_TRY = {
    "made benign refusals rise": "a larger model, a stronger proposer, or more room in constitution.gate.max_refusals",
    "mended too little": "another place for principles (form.principles: few-shot for a base model, or auto), a larger "
    "model, a stronger proposer, or less asked by constitution.gate.min_fixed and min_lift",
    "could not be tried": "more room in constitution.gate.max_answers",
    "were judged unacceptable": "more tries (revision.tries); `iteralign judge-check` tells whether the judge can be trusted",
    "were no text to judge": "a larger model, or a lower revision.temperature",
    "did not decline": "another place for principles (form.principles: auto), more tries (revision.tries), or "
    "revision.must_decline: false where the judge can be trusted",
    "recited their principles": "a larger model, or principles that say what to answer",
    "copied an example": "other examples (form.texts: with_principles_few_shot), or a larger model",
    "had the words of many others": "principles that say what to answer instead, or a higher revision.temperature",
    "opened as many others do": "principles that say what to answer instead, or a higher revision.temperature",
    "could not be judged": f"`iteralign doctor CONFIG`, and the reasons in the run's {layout.VERDICTS.file} files",
    "did not fit the context": "a smaller sampling.max_new_tokens, a shorter form, or shorter prompts",
}

_OF_ONE = {"were": "was", "contradict": "contradicts"}
"""Verbs of the reasons that are others of one thing."""
_UNLEARNABLE = {
    ANSWERS: "did not decline",
    COPIED: "recited their principles",
    SHOWN: "copied an example",
    STOCK: "had the words of many others",
    OPENS: "opened as many others do",
}


@dataclass(frozen=True)
class Ending:
    """What is said of a finished run."""

    happened: str
    advice: str | None = None
    """What to try; None where there is nothing to mend."""
    as_asked: bool = True
    """False: there was something to learn, and nothing was learnt."""

    @property
    def exit_code(self) -> int:
        """Of `run`, `resume` and `demo`."""
        return 0 if self.as_asked else NOTHING_TRAINED


def ending(rows: Sequence[RoundMetrics]) -> Ending:
    """Of a finished run, given all its rows."""
    rounds = [row for row in rows if row.round >= 0]
    prompts, failures = sum(row.prompts for row in rounds), sum(row.failures for row in rounds)
    unknown = sum(row.undetermined for row in rounds)
    if rows[-1].weights >= 0:
        return _trained(rounds)
    if prompts and unknown >= _MOSTLY_UNDETERMINED * prompts:
        why = f"{unknown} of {_counted(prompts, 'answers')} could not be judged{_too_long(rounds)}"
        return _not_trained(why, _unjudged(rounds))
    if not failures:
        rest = f"; {unknown} could not be judged{_too_long(rounds)}" if unknown else ""
        return Ending(
            f"Nothing to learn: none of {_counted(prompts, 'answers')} was judged unacceptable{rest}.",
            _try("harder prompts"),
        )
    thrown = [row.problem for row in rounds if row.problem is not None]
    if thrown:
        what = {1: "the training was", 2: "both trainings were"}.get(len(thrown), f"all {len(thrown)} trainings were")
        return _not_trained(f"{what} thrown away: {thrown[-1]}", _other_training(thrown[-1]))
    if any(row.revised for row in rounds):
        return _not_trained(_mended(rounds), _remedy(_sum(row.not_mended for row in rounds)))
    if not any(row.proposed for row in rounds):
        return _not_trained(
            f"no principle was proposed for {_counted(failures, 'failures')}", "a stronger proposer (oracle.proposer)"
        )
    return _not_trained(_adopted(rounds), _remedy(_sum(row.not_adopted for row in rounds)))


def why_not_adopted(principles: Sequence[Principle]) -> dict[str, int]:
    """Of a round's principles, how many for which reason."""
    return dict(Counter(_refused(one) for one in principles if one.status != "adopted").most_common())


def why_not_mended(revisions: Sequence[Revision]) -> dict[str, int]:
    """Of a round's failures without a revision that passed, by what was wrong with the last try."""
    last = {one.failure.response.prompt.id: one for one in revisions}
    passed = {one.failure.response.prompt.id for one in revisions if one.verdict and one.verdict.label == "acceptable"}
    failed = [one.verdict for key, one in last.items() if key not in passed and one.verdict is not None]
    return dict(Counter(map(_wrong, failed)).most_common())


def _refused(principle: Principle) -> str:
    if not principle.history:
        return "were not adopted"
    last = principle.history[-1]
    match principle.status, last.by:
        case "merged", _:
            return "said what another one says"
        case "contradicting", _:
            return "contradict another one"
        case "rejected", "gate":
            return in_short(last.reason)
        case "rejected", "form":
            return "had an unfit text"
        case _:
            return f"were turned down by {last.by}" if last.by else "were turned down"


def _wrong(verdict: Verdict) -> str:
    if verdict.label == "unacceptable":
        return "were judged unacceptable"
    if verdict.response.finish == "prompt_too_long":
        return "did not fit the context"
    if verdict.reason in _UNLEARNABLE:
        return _UNLEARNABLE[verdict.reason]
    return "were no text to judge" if is_degenerate(verdict.response.text) else "could not be judged"


def _trained(rounds: Sequence[RoundMetrics]) -> Ending:
    """Also where it went badly: then with the reason."""
    trained = sum(row.trained for row in rounds)
    thrown = sum(row.problem is not None for row in rounds)
    said = [f"Trained in {trained} of {_counted(len(rounds), 'rounds')}", _mended(rounds)]
    if any(row.proposed for row in rounds):
        said.append(_adopted(rounds))
    if thrown:
        said.append(f"{thrown} training{'s were' if thrown > 1 else ' was'} thrown away")
    prompts, unknown = sum(row.prompts for row in rounds), sum(row.undetermined for row in rounds)
    if unknown > prompts / 2:
        said.append(f"{unknown} of {_counted(prompts, 'answers')} could not be judged{_too_long(rounds)}")
    few = 2 * sum(row.verified for row in rounds) < sum(row.revised for row in rounds)
    return Ending("; ".join(said) + ".", _try(_remedy(_sum(row.not_mended for row in rounds))) if few else None)


def _not_trained(why: str, remedy: str) -> Ending:
    return Ending(f"Nothing was trained: {why.rstrip('.')}.", _try(remedy), as_asked=False)


def _try(remedy: str) -> str:
    return f"To try: {remedy}."


def _mended(rounds: Sequence[RoundMetrics]) -> str:
    mended, of = sum(row.verified for row in rounds), sum(row.revised for row in rounds)
    because = _because(_sum(row.not_mended for row in rounds), "revisions")
    return f"{mended} of {_counted(of, 'failures')} mended{because}"


def _adopted(rounds: Sequence[RoundMetrics]) -> str:
    adopted, of = sum(row.principles for row in rounds), sum(row.proposed for row in rounds)
    return f"{adopted} of {_counted(of, 'principles')} adopted{_because(_sum(row.not_adopted for row in rounds))}"


def _because(reasons: Counter[str], what: str = "") -> str:
    """` (11 made benign refusals rise, 4 mended too little)`; `what` did so is said of the first alone."""
    told = [
        f"{_counted(count, '' if place else what)} {_agreeing(count, reason)}"
        for place, (reason, count) in enumerate(reasons.most_common())
    ]
    return f" ({', '.join(told)})" if told else ""


def _counted(count: int, what: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{count} {what.removesuffix('s') if count == 1 else what}".rstrip()


def _agreeing(count: int, reason: str) -> str:
    """A reason, which is kept in the plural, said of so many."""
    if count != 1:
        return reason
    verb, _, rest = reason.partition(" ")
    return f"{_OF_ONE.get(verb, verb)} {rest.replace('their principles', 'its principles')}"


def _sum(parts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def _remedy(reasons: Counter[str]) -> str:
    """For the commonest reason that anything is known to help against."""
    known = [_TRY[reason] for reason, _ in reasons.most_common() if reason in _TRY]
    return known[0] if known else "a stronger proposer (oracle.proposer)"


def _other_training(problem: str) -> str:
    """For a training that was thrown away for this."""
    if PROMPTS["unacceptable"] in problem:
        # Few failures beside many benign rows teach a base model to answer what it had no answer to (docs/log.md).
        return "more failures in each training (rounds.min_failures), or less training.benign_share"
    return "a lower training.learning_rate, or more training.benign_share"


def _too_long(rounds: Sequence[RoundMetrics]) -> str:
    count = sum(row.too_long for row in rounds)
    return f", {count} of them since prompt and answer don't fit the context" if count else ""


def _unjudged(rounds: Sequence[RoundMetrics]) -> str:
    too_long, unknown = sum(row.too_long for row in rounds), sum(row.undetermined for row in rounds)
    return _TRY["did not fit the context" if 2 * too_long > unknown else "could not be judged"]
