"""What the shell offers when TAB is pressed: settings and their values, tasks, sources.

typer writes the shells' scripts (`iteralign --install-completion`), completes commands, options and fixed choices, and
leaves files to the shell. What is here completes the rest. Nothing that it imports loads torch: a person is waiting.
"""

import os
from collections.abc import Iterator, MutableMapping, Sequence

_HEAD = "_ITERALIGN_COMPLETE_HEAD"
_BREAKS = frozenset("=:")  # those of bash's COMP_WORDBREAKS that occur in our words

Offer = tuple[str, str]
"""What is inserted, and what is said of it."""


def join_words(environment: MutableMapping[str, str]) -> None:
    """Undo what bash does to `a.b=c`: it hands over three words, and replaces the last of them alone.

    COMP_WORDS gets the words as they were typed but for the last, whose head goes into a variable of its own. Other
    shells hand over whole words.
    """
    if environment.get("_ITERALIGN_COMPLETE") != "complete_bash":
        return
    typed = environment.get("COMP_WORDS", "").split("\n")[: int(environment.get("COMP_CWORD", "0")) + 1]
    words = [*_joined(typed)]
    if words and words[-1].startswith("--") and "=" in words[-1]:
        words[-1:] = words[-1].split("=", 1)
    cut = max(words[-1].rfind(sign) for sign in _BREAKS) + 1 if words else 0
    if words:
        environment[_HEAD], words[-1] = words[-1][:cut], words[-1][cut:]
    environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(words), str(len(words) - 1)


def _joined(typed: Sequence[str]) -> Iterator[str]:
    word, glued = "", True
    for part in typed:
        breaks = bool(part) and _BREAKS.issuperset(part)
        if not (glued or breaks):
            yield word
            word = ""
        word += part
        glued = breaks
    yield word


def complete_setting(incomplete: str) -> list[Offer]:
    """`--set`: the setting, then `=` and its choices, or its default as an example."""
    from iteralign.settings.file import choices, every_setting
    from iteralign.settings.settings import Settings

    head = os.environ.get(_HEAD, "")
    key, equals, _ = (head + incomplete).partition("=")
    known = every_setting(Settings)
    matching = {name: field for name, field in known.items() if (name == key if equals else name.startswith(key))}
    offers: list[Offer] = []
    for name, field in matching.items():
        about = " ".join((field.description or "").split())
        values = choices(field.annotation)
        if equals or (values and len(matching) == 1):
            offers += [(f"{name}={value}", about) for value in values]
        else:
            offers.append((f"{name}=", about))
    if not equals and len(offers) == 1:  # a second one keeps the shell from ending the word behind the =
        field = next(iter(matching.values()))
        offers.append((f"{offers[0][0]}{'...' if field.is_required() else field.default}", "its default"))
    return [(text.removeprefix(head), about) for text, about in offers if text.startswith(head)]


def complete_tasks(incomplete: str) -> list[str]:
    """`evaluate --tasks`: the one behind the last comma; lm-eval's own are too many to list."""
    from iteralign.evals.benchmarks import ALIASES
    from iteralign.evals.evaluate import OWN_TASKS

    given, comma, _ = incomplete.rpartition(",")
    left = [name for name in (*ALIASES, *OWN_TASKS) if name not in given.split(",")]
    return [f"{given}{comma}{name}" for name in left]


def complete_source(incomplete: str) -> list[str]:
    """`data prepare`: the named sets; files are the shell's."""
    from iteralign.data.sources import SOURCES

    return list(SOURCES)


def complete_judge(incomplete: str) -> list[str]:
    """`--judge` of the evaluations: the rules; files are the shell's."""
    return ["rules"]
