"""The prompts as they are asked, in each of their forms."""

from collections.abc import Sequence

from iteralign.records import RedTeamPrompt


def in_forms(prompts: Sequence[RedTeamPrompt], forms: Sequence[str]) -> list[RedTeamPrompt]:
    """The prompts, and each of them again in each of these forms, by an id of its own."""
    again = [
        prompt.model_copy(update={"form": form, "id": f"{prompt.id} ({form})"}) for form in forms for prompt in prompts
    ]
    return [*prompts, *again]
