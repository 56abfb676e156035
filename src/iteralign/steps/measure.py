"""Measuring: the held-out prompts answered and judged, and how well the target still predicts some texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iteralign.errors import DataError
from iteralign.interfaces import Judge, Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import RedTeamPrompt, Response, Sampling, TextScore, Verdict
from iteralign.steps.judge import judge
from iteralign.steps.respond import Told, nobody, respond
from iteralign.text.abstentions import says_something
from iteralign.text.bounded import read_text
from iteralign.text.refusals import is_refusal


@dataclass(frozen=True)
class CapabilityTexts:
    """What the capability check predicts: `completions` after `inputs`."""

    ids: Sequence[str] = ()
    inputs: Sequence[str] = ()
    completions: Sequence[str] = ()


def measure(
    target: Target,
    oracle: Judge,
    form: PromptForm,
    prompts: Sequence[RedTeamPrompt],
    sampling: Sampling,
    told: Told = nobody,
) -> list[Verdict]:
    """The judged answers to prompts that nothing is trained on."""
    return judge(oracle, respond(target, form, prompts, sampling, told)) if prompts else []


def predict(target: Target, texts: CapabilityTexts) -> list[TextScore]:
    """The loss of each text; those without a token are left out."""
    scores = target.score(texts.inputs, texts.completions)
    return [TextScore(id=key, loss=-one) for key, one in zip(texts.ids, scores, strict=True) if math.isfinite(one)]


def answers_as_texts(form: PromptForm, benign: Sequence[Response]) -> CapabilityTexts:
    """The base model's answers to the benign prompts, without refusals, abstentions and degenerate ones."""
    good = [one for one in benign if not is_refusal(one.text) and says_something(one.text)]
    inputs = [form.render(one.prompt) for one in good]  # not one.input: examples may have stood there
    return CapabilityTexts([one.prompt.id for one in good], inputs, [form.completion(one.text) for one in good])


def file_texts(path: str | None) -> CapabilityTexts:
    """The paragraphs of a text file (separated by blank lines), each by itself. Raises DataError."""
    if path is None:
        return CapabilityTexts()
    try:
        paragraphs = [part.strip() for part in read_text(Path(path)).split("\n\n") if part.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"measure.capability: {path} can't be read as text: {error}.") from error
    if not paragraphs:
        raise DataError(f"measure.capability: {path} holds no text.")
    return CapabilityTexts([str(number) for number in range(len(paragraphs))], [""] * len(paragraphs), paragraphs)
