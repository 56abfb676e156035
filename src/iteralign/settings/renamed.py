"""Keys of an earlier version that still work, each with a warning that names the new one. They go with the next version."""

import functools
import logging
from collections.abc import Mapping
from typing import Any

from iteralign.settings.file import placed

RENAMED = {
    "oracle.judge_file": "oracle.texts.judge",
    "oracle.judge_repair_file": "oracle.texts.judge_repair",
    "oracle.proposer_file": "oracle.texts.propose",
    "oracle.proposer_repair_file": "oracle.texts.propose_repair",
    "form.principles_file": "form.texts.with_principles",
    "form.draft_file": "form.texts.with_draft",
    "form.critique_file": "form.texts.critique",
    "form.critiqued_file": "form.texts.with_critique",
    "form.template_file": "form.texts.template",
    "oracle.max_tokens": "oracle.token_budget",
    "oracle.max_cost": "oracle.cost_budget",
    "constitution.gate.held_out": "constitution.gate.others",
    "constitution.gate.benign": "constitution.gate.benign_prompts",
    "training.benign": "training.benign_share",
    "guard_rails.benign": "guard_rails.over_refusal",
}
_SCRIPT = "form.texts.chain_of_utterances"  # what form.template_file was where form.name is cou


def with_new_keys(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with each old key's value at its new place, also where a value stands there: overrides come last.

    Raises ConfigError where a file is named for one text, and one setting names all texts.
    """
    told = []
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        inner = _section(values, section)
        if name not in inner:
            continue
        values = placed(values, section, {key: value for key, value in inner.items() if key != name})
        if inner[name] is None and ".texts." in new:  # no text of one's own
            continue
        new = _SCRIPT if name == "template_file" and inner.get("name") == "cou" else new
        told.append(f"{old} is called {new} now")
        values = placed(values, new, inner[name])
    if told:
        _tell("; ".join(told))
    return values


def _section(values: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The section at `a.b`; nothing where it is missing or a single value."""
    for name in path.split("."):
        inner = values.get(name)
        values = inner if isinstance(inner, Mapping) else {}
    return values


@functools.cache
def _tell(told: str) -> None:
    logging.getLogger(__name__).warning("Old names of settings: %s. The next version takes the new ones alone.", told)
