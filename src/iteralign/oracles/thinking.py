"""What a reasoning model thinks aloud is not its answer.

Servers that know the model put its thoughts into a field of their own. Others leave them in the text, between `<think>`
and `</think>`; where the chat template has opened the element itself, the text holds its end alone.
"""

import json

BEGINS, ENDS = "<think>", "</think>"

_MOST_ENDS = 20  # looked at; more are an attack or a model that is lost


def without_thinking(text: str) -> str:
    """The answer after the thoughts; empty where the thoughts did not come to an end.

    Thoughts may quote the end of the element, and so may the answer (in a JSON string). So what follows the first end
    that leaves exactly one JSON value counts; else what follows the last.
    """
    start = text.lstrip()
    if ENDS not in text:
        return "" if start.startswith(BEGINS) else text
    if start[:1] in ("{", "[", "`"):
        return text  # an answer that quotes the element
    rest, rests = text, []
    for _ in range(_MOST_ENDS):
        _, end, rest = rest.partition(ENDS)
        if not end:
            break
        rests.append(rest)
    return next((rest for rest in rests if _is_json(rest)), text.rpartition(ENDS)[2])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
