"""Red teaming: the target answers a group of prompts (paper section 3.1)."""

from collections.abc import Sequence

from iteralign.interfaces import Target
from iteralign.prompts.forms import PromptForm
from iteralign.records import Generation, RedTeamPrompt, Response, Sampling


def respond(target: Target, form: PromptForm, prompts: Sequence[RedTeamPrompt], sampling: Sampling) -> list[Response]:
    """One response per prompt, in their order."""
    inputs = [form.render(prompt) for prompt in prompts]
    generations = target.generate(inputs, sampling)
    return [
        as_response(form, prompt, text, generation)
        for prompt, text, generation in zip(prompts, inputs, generations, strict=True)
    ]


def as_response(form: PromptForm, prompt: RedTeamPrompt, text: str, generation: Generation) -> Response:
    """The generation with what `form` takes out of it (thoughts, a next turn) taken out."""
    answer = form.answer(generation.text)
    return Response(
        prompt=prompt,
        input=text,
        text=answer,
        raw=None if answer == generation.text.strip() else generation.text,
        finish=generation.finish,
        prompt_tokens=generation.prompt_tokens,
        tokens=generation.tokens,
    )
