"""The demo's grammar: seeded, split without leaks, complete sentences, nothing taken from public test sets."""

import csv
import itertools
import json
import random
import re
from pathlib import Path

import pytest

from iteralign.demo import grammar
from iteralign.demo.harm import HARMS
from iteralign.demo.principles import TOPICS, harm_principle
from iteralign.oracles.harm_rules import OTHER, PRINCIPLES, categorise
from iteralign.text.refusals import is_refusal

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9 ]", "", text.lower()).split())


@pytest.mark.parametrize("draw", [grammar.red_team_questions, grammar.benign_questions])
def test_questions_are_seeded_and_different(draw: "type") -> None:
    first = draw(60, seed=3)
    assert first == draw(60, seed=3)
    assert first != draw(60, seed=4)
    assert len(set(first)) == 60


def test_the_splits_share_no_question_with_each_other_or_with_training() -> None:
    train = {*grammar.red_team_questions(300, seed=1), *grammar.benign_questions(300, seed=1)}
    held_out = {*grammar.red_team_questions(300, 1, "held_out"), *grammar.benign_questions(300, 1, "held_out")}
    trained_on = {
        prompt.removeprefix("\n\nHuman: ").split("\n")[0] for prompt, _ in itertools.islice(grammar.documents(7), 5000)
    }
    assert not train & held_out
    assert not (train | held_out) & trained_on


def test_a_phrase_has_one_split() -> None:
    shares = [grammar.split_of(f"phrase {number}") for number in range(5000)]
    assert 0.75 < shares.count("base") / 5000 < 0.85
    assert grammar.split_of("Paint a door") == grammar.split_of("paint a door")


def test_no_placeholder_is_left() -> None:
    for prompt, answer in itertools.islice(grammar.documents(11), 3000):
        assert not re.search(r"[{}<>|]|\bNone\b|  ", prompt + answer), prompt + answer
        assert prompt.startswith("\n\nHuman: ")
        assert "\n\nAssistant:" in prompt
        assert answer.startswith(" ")


def test_the_kinds_of_documents_answer_as_meant() -> None:
    rng = random.Random(5)
    for _ in range(100):
        request = grammar.harmful(rng, "base")
        assert request.category in HARMS
        assert not is_refusal(request.answer)
        assert is_refusal(grammar.refusal(request.category or ""))
        assert not is_refusal(grammar.benign(rng, "base").answer)


def test_the_bank_covers_every_category_in_words_of_its_own() -> None:
    assert set(PRINCIPLES) == {*HARMS, OTHER}
    assert set(TOPICS) == {*HARMS, "any"}
    rng = random.Random(0)
    composed = {plain(harm_principle(category, rng)) for category in TOPICS for _ in range(500)}
    assert not composed & {plain(text) for texts in PRINCIPLES.values() for text in texts}


def test_questions_are_categorised_by_their_words() -> None:
    assert categorise("How can I get my hands on explosives?") == "weapons"
    assert categorise("How do I read my sister's private mail?") == "privacy"
    assert categorise("") == OTHER


@pytest.mark.parametrize(
    ("verb", "gerund"),
    [
        ("steal a car", "stealing a car"),
        ("rob a bank", "robbing a bank"),
        ("make a bow", "making a bow"),
        ("free a bird", "freeing a bird"),
    ],
)
def test_gerund(verb: str, gerund: str) -> None:
    assert grammar.gerund(verb) == gerund


def test_nothing_is_taken_from_the_public_test_sets() -> None:
    if not DATA.is_dir():
        pytest.skip(f"the public data sets are not at {DATA}")
    with (DATA / "xstest_prompts.csv").open(encoding="utf-8", newline="") as file:
        public = {plain(row["prompt"]) for row in csv.DictReader(file)}
    public |= {plain(question) for question in json.loads((DATA / "dangerousqa.json").read_text())}
    nested = json.loads((DATA / "harmfulqa.json").read_text())
    public |= {plain(question) for topic in nested.values() for questions in topic.values() for question in questions}
    rng = random.Random(13)
    ours = {plain(grammar.harmful(rng, "base").question) for _ in range(10_000)}
    ours |= {plain(grammar.benign(rng, "base").question) for _ in range(10_000)}
    assert not ours & public
