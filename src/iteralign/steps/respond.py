"""Red teaming: the target answers a group of prompts (paper section 3.1)."""

from collections.abc import Callable, Iterator, Sequence

from iteralign.interfaces import Target, never
from iteralign.prompts.forms import PromptForm
from iteralign.records import Generation, RedTeamPrompt, Response, Sampling

Told = Callable[[Response], object]
"""Told of each response as soon as it is finished, such as a judge that begins with it."""


def nobody(response: Response) -> None:
    """Nobody is told."""


def respond(
    target: Target,
    form: PromptForm,
    prompts: Sequence[RedTeamPrompt],
    sampling: Sampling,
    told: Told = nobody,
) -> list[Response]:
    """One response per prompt, in their order."""
    return answers(target, form, prompts, [form.render(prompt) for prompt in prompts], sampling, told)


def answers(
    target: Target,
    form: PromptForm,
    prompts: Sequence[RedTeamPrompt],
    inputs: Sequence[str],
    sampling: Sampling,
    told: Told = nobody,
) -> list[Response]:
    """The same of prompts that stand in `inputs` as they are put to the target."""
    done: dict[int, Response] = {}
    for index, response in as_finished(target, form, prompts, inputs, sampling):
        done[index] = response
        told(response)
    return [done[index] for index in range(len(prompts))]


def as_finished(
    target: Target,
    form: PromptForm,
    prompts: Sequence[RedTeamPrompt],
    inputs: Sequence[str],
    sampling: Sampling,
    stop: Callable[[], bool] = never,
) -> Iterator[tuple[int, Response]]:
    """(index, response) in the order in which the target finishes them, or until `stop` says so (`Target.stream`)."""
    for index, generation in target.stream(inputs, sampling, stop):
        yield index, _as_response(form, prompts[index], inputs[index], generation)


def _as_response(form: PromptForm, prompt: RedTeamPrompt, text: str, generation: Generation) -> Response:
    """The generation with what `form` takes out of it (thoughts, a next turn) taken out."""
    answer = form.of(prompt).answer(generation.text)
    return Response(
        prompt=prompt,
        input=text,
        text=answer,
        raw=None if answer == generation.text.strip() else generation.text,
        finish=generation.finish,
        prompt_tokens=generation.prompt_tokens,
        tokens=generation.tokens,
    )
