"""Training examples: (prompt without the constitution, verified revision), with replay (paper section 3.5).

For an objective that prefers, the failed answer is what is rejected, and a refusal on benign prompts. For one that has a
teacher, the principles stand in its prompt.
"""

import math
import random
from collections.abc import Sequence

from iteralign.prompts.forms import PromptForm
from iteralign.records import Response, Revision, TrainingExample
from iteralign.text.refusals import STOCK, is_refusal


def examples(
    form: PromptForm,
    revisions: Sequence[Revision],
    earlier: Sequence[TrainingExample],
    benign: Sequence[Response],
    round_number: int,
    *,
    twins: Sequence[Response] = (),
    earlier_twins: Sequence[Response] = (),
    replay: float = 0.0,
    min_replay: int = 0,
    benign_share: float = 0.0,
    min_benign: int = 0,
    preferred: bool = False,
    taught: bool = False,
    seed: int = 0,
) -> list[TrainingExample]:
    """This round's rows: its verified revisions, earlier rounds' pairs again, and benign pairs, `twins` among them.

    `replay` is a share of the number of revisions, `benign_share` of the revisions and the earlier pairs together, since
    both teach to decline; with at least `min_replay` and `min_benign` rows, as far as there are any. Without the least
    number of replayed pairs a late round with one failure trains on next to nothing but benign answers, and unlearns;
    without benign rows for these the model declines more from round to round (docs/log.md). `twins`, and as many of
    `earlier_twins` as pairs of earlier rounds, take the place of up to half of the benign rows. All of these must be the
    base model's own answers: replay answered by the current model drifts into refusal. With `preferred` each of them is
    preferred to a refusal: one of the model's own among the revisions, or else a stock one. With `taught` revisions have
    the prompt that their principles stand in. Benign rows are asked in all forms of the run in turn, as the prompts that
    fail are: otherwise the model learns to decline a form. Nothing is returned when no revision passed: only replay
    would be left.
    """
    if not revisions:
        return []
    draw = random.Random(f"{seed} {round_number}")
    wanted = max(min_replay, math.ceil(replay * len(revisions)))
    again = draw.sample(list(earlier), min(len(earlier), wanted))
    wanted = max(min_benign, math.ceil(benign_share * (len(revisions) + len(again))))
    old = min(len(earlier_twins), len(again))
    others = max(wanted - len(twins) - old, math.ceil(wanted / 2)) if len(twins) + old else wanted
    answered = draw.sample(list(benign), min(len(benign), others))
    answered += [*twins, *draw.sample(list(earlier_twins), old)]
    declining = [revision.response.text for revision in revisions if is_refusal(revision.response.text)] or STOCK
    return [
        *(_from_revision(form, revision, round_number, taught) for revision in revisions),
        *(example.model_copy(update={"kind": "replay"}) for example in again),
        *(
            _from_benign(form.names[place % len(form.names)], form, response, round_number, refusal)
            for place, response in enumerate(answered)
            for refusal in [draw.choice(declining) if preferred else None]
        ),
    ]


def _from_revision(form: PromptForm, revision: Revision, round_number: int, taught: bool) -> TrainingExample:
    failed = revision.failure.response
    asked = form.of(failed.prompt)
    return TrainingExample(
        prompt=failed.input,
        completion=asked.completion(revision.response.text),
        kind="revision",
        prompt_id=failed.prompt.id,
        round=round_number,
        principles=tuple(principle.id for principle in revision.principles),
        rejected=asked.completion(failed.text),
        teacher_prompt=form.render(failed.prompt.in_own_form, revision.principles) if taught else None,
    )


def _from_benign(
    name: str | None, form: PromptForm, response: Response, round_number: int, refusal: str | None
) -> TrainingExample:
    prompt = response.prompt.model_copy(update={"form": name})
    asked = form.of(prompt)
    return TrainingExample(
        prompt=asked.render(prompt),  # not response.input: examples may have stood there
        completion=asked.completion(response.text),
        kind="benign",
        prompt_id=response.prompt.id,
        round=round_number,
        rejected=None if refusal is None else asked.completion(refusal),
    )
