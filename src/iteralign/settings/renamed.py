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
}
_SCRIPT = "form.texts.chain_of_utterances"  # what form.template_file was where form.name is cou


def with_new_keys(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with each old key's value at its new place; null was no value. Raises ConfigError where both are given."""
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        inner = values.get(section)
        if not isinstance(inner, Mapping) or name not in inner:
            continue
        values = values | {section: {key: value for key, value in inner.items() if key != name}}
        if inner[name] is not None:
            new = _SCRIPT if name == "template_file" and inner.get("name") == "cou" else new
            _tell(old, new)
            values = placed(values, new, inner[name])
    return values


@functools.cache
def _tell(old: str, new: str) -> None:
    logging.getLogger(__name__).warning("The setting %s is called %s now; the next version takes no other.", old, new)
