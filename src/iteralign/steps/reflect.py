"""Self-reflection: revise and verify, until enough revisions pass or the tries are used (paper section 3.4)."""

from collections import Counter
from collections.abc import Sequence

from iteralign.activity import within
from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Principle, Revision, Sampling, TrainingExample, Verdict
from iteralign.steps.respond import Told, nobody
from iteralign.steps.revise import Mode, revise
from iteralign.steps.verify import scored, verified, verify
from iteralign.text.similarity import Similarity, by_words


def reflect(
    target: Target,
    oracle: Judge,
    form: PromptForm,
    failures: Sequence[Verdict],
    principles: Sequence[Principle],
    sampling: Sampling,
    trained_on: Sequence[TrainingExample] = (),
    *,
    mode: Mode,
    max_principles: int,
    tries: int,
    temperature: float,
    best_of: int,
    must_decline: bool,
    similarity: Similarity = by_words,
    told: Told = nobody,
) -> list[Revision]:
    """Revise and verify each failure until `best_of` revisions pass or `tries` are used.

    A target that can't say which one is best is asked for one. All tries are returned, judged. The first decodes as the
    target does everywhere; later ones sample with `temperature`, each with a seed of its own.
    What earlier rounds have `trained_on` counts where answers must not be too much alike.
    Without any principle only failures of another prompt form are answered again: in the run's own none may be needed.
    """
    choosing = best_of > 1 and target.can_score
    wanted = best_of if choosing else 1
    tried: list[Revision] = []
    left = [failure for failure in failures if principles or failure.response.prompt.form is not None]
    for attempt in range(tries):
        if not left:
            break
        again = sampling if attempt == 0 else _warmer(sampling, temperature, attempt)
        with within(f"try {attempt + 1} of {tries}"):
            revisions = revise(
                *(target, form, left, principles, again),
                mode=mode,
                max_principles=max_principles,
                attempt=attempt,
                similarity=similarity,
                told=told,
            )
            shown = form.human_turn.examples
            tried += verify(*(oracle, revisions, tried, len(failures), shown, trained_on), must_decline=must_decline)
        passed = Counter(revision.failure.response.prompt.id for revision in verified(tried))
        left = [failure for failure in left if passed[failure.response.prompt.id] < wanted]
    return scored(target, form, tried) if choosing else tried


def _warmer(sampling: Sampling, temperature: float, attempt: int) -> Sampling:
    warmest = max(temperature, sampling.temperature)
    return sampling.model_copy(update={"temperature": warmest, "seed": sampling.seed + attempt})
