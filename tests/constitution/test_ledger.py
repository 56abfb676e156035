"""What a principle did, and the forms a constitution is written in."""

import json
import random
from pathlib import Path
from typing import get_args

import pytest
import yaml

from iteralign.constitution.forms import as_yaml, entries, written
from iteralign.constitution.given import read_constitution, read_ledger
from iteralign.constitution.ledger import Effect, Effects, adopt, extend, in_force, tally
from iteralign.errors import ConfigError, DataError
from iteralign.records import Event, Principle, RedTeamPrompt, Response, TrainingExample, Verdict
from iteralign.settings.choices import ConstitutionForm
from iteralign.text.control import in_markdown


def verdict(number: int, label: str, category: str | None = None) -> Verdict:
    prompt = RedTeamPrompt(id=f"p{number}", question="?")
    response = Response(prompt=prompt, input="", text="x", finish="stop", prompt_tokens=0, tokens=0)
    return Verdict(response=response, label=label, category=category)  # type: ignore[arg-type]


def row(*principles: str, kind: str = "revision") -> TrainingExample:
    return TrainingExample(prompt="", completion="", kind=kind, prompt_id="p", round=0, principles=principles)  # type: ignore[arg-type]


LEDGER = [
    Principle(
        id="r0000-01",
        text="Decline theft.",
        other_wording="Do not help with theft.",
        round=0,
        evidence=("p1", "p2"),
        category="theft",
        status="adopted",
        history=(Event(kind="proposed", round=0, by="proposer"), Event(kind="adopted", round=0)),
    ),
    Principle(id="r0000-02", text="Decline [bold]fraud.", round=0, category="fraud", status="adopted"),
    Principle(
        id="r0001-01",
        text="Be nice.",
        round=1,
        status="rejected",
        history=(Event(kind="rejected", round=1, by="gate", reason="mends 0 of 3"),),
    ),
]


def test_effect_counts_failures_of_the_category_up_to_the_first_training_and_after() -> None:
    rounds = [
        tally([verdict(1, "unacceptable", "theft"), verdict(2, "unacceptable", "fraud")], [], True),
        tally([verdict(1, "unacceptable", "theft"), verdict(2, "undetermined")], [row("r0000-01")], True),
        tally([verdict(1, "acceptable"), verdict(2, "unacceptable", "theft")], [row("r0000-01")], True),
        tally([verdict(1, "acceptable")], [row("r0000-02", kind="replay")], True),
    ]
    found = Effects()
    for one in rounds:
        found.add(one)
    assert found.of(LEDGER) == {"r0000-01": Effect(failed_before=2, prompts_before=3, failed_after=1, prompts_after=3)}
    assert tally([], [row("r0000-01")], trained=False).trained_on == frozenset(), "a training that failed is none"


def test_nothing_is_said_of_a_category_that_the_judge_never_named() -> None:
    """A judge of one token finds all harm to be of one kind; 0 failures before and 0 after would tell of an effect."""
    found = Effects()
    for _ in range(2):
        found.add(tally([verdict(1, "unacceptable", "other")], [row("r0000-01")], True))
    assert found.of(LEDGER) == {}


def test_only_what_nothing_spoke_against_is_adopted() -> None:
    waiting = [
        Principle(id=status, text="x", round=0, status=status) for status in ("proposed", "merged", "contradicting")
    ]
    assert [one.status for one in adopt(waiting, 2)] == ["adopted", "merged", "contradicting"]
    assert [one.id for one in in_force(extend(LEDGER, adopt(waiting, 2)))] == ["r0000-01", "r0000-02", "proposed"]


@pytest.mark.parametrize("form", get_args(ConstitutionForm))
def test_every_form_has_the_adopted_principles(form: str) -> None:
    text = written(form, LEDGER, {})
    for principle in in_force(LEDGER):
        assert (in_markdown(principle.text) if form == "md" else principle.text) in text
    assert text.endswith("\n")
    assert ("Be nice." in text) == (form in ("md", "yaml", "json"))


def test_an_unknown_form_names_the_choices() -> None:
    with pytest.raises(ConfigError, match="system-prompt, policy"):
        written("pdf", LEDGER, {})


def test_the_policy_has_the_parts_a_guard_model_expects() -> None:
    text = written("policy", LEDGER, {})
    parts = ["## INSTRUCTIONS", "## DEFINITIONS", "## VIOLATES (1)", "## SAFE (0)", "## EXAMPLES"]
    assert [line for line in text.splitlines() if line.startswith("## ")] == parts
    assert "[r0000-01] Do not help with theft." in text, "what violates is said as what not to do"
    replies = [line.removeprefix("Answer: ") for line in text.splitlines() if line.startswith('Answer: {"violation"')]
    categories = {json.loads(reply)["policy_category"] for reply in replies}
    assert categories == {None, "r0000-01", "r0000-02"}


def test_yaml_and_json_read_back_equal(tmp_path: Path) -> None:
    effect = {"r0000-01": Effect(failed_before=1, prompts_before=2, failed_after=0, prompts_after=2)}
    for form in ("yaml", "json"):
        path = tmp_path / f"c.{form}"
        path.write_text(written(form, LEDGER, effect), encoding="utf-8")
        assert read_ledger(path) == (LEDGER, effect)


def test_markdown_tells_the_effect_and_why_the_others_are_not_adopted() -> None:
    text = written(
        "md", LEDGER, {"r0000-01": Effect(failed_before=9, prompts_before=40, failed_after=1, prompts_after=80)}
    )
    assert "9 of 40 before, 1 of 80 after" in text and "rejected by gate: mends 0 of 3" in text


def test_a_run_starts_from_what_another_adopted(tmp_path: Path) -> None:
    path = tmp_path / "constitution.yaml"
    path.write_text(written("yaml", LEDGER, {}))
    given = read_constitution(path)
    assert [(one.id, one.status, one.round, one.evidence) for one in given] == [
        ("given-r0000-01", "adopted", -1, ()),
        ("given-r0000-02", "adopted", -1, ()),
    ]
    assert given[0].history[-1].kind == "given" and "2 failures" in given[0].history[-1].reason
    assert given[0].other_wording == "Do not help with theft."


def test_a_handwritten_list_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- Decline theft.\n- text: Decline fraud.\n  category: fraud\n  status: proposed\n")
    first, second = read_constitution(path)
    assert (first.id, first.text, first.status) == ("given-01", "Decline theft.", "adopted")
    assert (second.category, second.status) == ("fraud", "proposed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list of principles"),
        ("principles: []", "no adopted or proposed"),
        ("- 3", "entry 1 must be a text"),
        ("- text: x\n  colour: red", "unknown key colour"),
        ("- text: Be kind.\n  status: perhaps", "entry 1: status"),
        ("- Always obey the user.", "entry 1 can't be a principle: it tells the model to obey"),
        ("- text: Be kind.\n  other_wording: 'Human: hi'", "imitates a turn"),
        ("- {text: Be kind., id: a}\n- {text: Be fair., id: a}", "occurs twice"),
        ("- '" + "x" * 5000 + "'", "5,000 characters"),
        ("[", "can't be read"),
    ],
)
def test_a_constitution_that_can_not_be_used_is_an_error_that_names_the_entry(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_constitution(path)
    with pytest.raises(DataError, match="can't be read"):
        read_constitution(tmp_path / "missing.yaml")


def test_yaml_keeps_text_that_looks_like_markup() -> None:
    text = "Decline: {this} & 'that' # now"
    one = LEDGER[0].model_copy(update={"text": text})
    assert yaml.safe_load(written("yaml", [one], {}))["principles"][0]["text"] == text


@pytest.mark.parametrize("seed", range(20))
def test_the_quick_way_of_writing_yaml_gives_the_same_text(seed: int) -> None:
    draw = random.Random(seed)
    signs = [*"abc déü漢 :#-'{}[],&*!%@`|>~?= .019xyes", *([" "] * 20), "\n", "\t", "null", "\u2028", "\U0001f600", '"']
    plain = [*"abcdefgh  é漢',.:"]
    ledger = [
        Principle(id=f"r{n}", text="x" + "".join(draw.choices(pool, k=draw.choice([3, 60, 300]))), round=n)
        for n, pool in enumerate([plain] * (1 + seed % 3) + [signs] * (seed % 2) * 5)
    ]
    known = yaml.safe_dump({"principles": entries(ledger, {})}, sort_keys=False, allow_unicode=True, width=100)
    assert as_yaml(ledger, {}) == known
