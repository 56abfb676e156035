"""Review: sittings until a person has decided on everything, edited principles tried again, decisions on record."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from iteralign.constitution.bench import Bench
from iteralign.constitution.gate import Gate
from iteralign.constitution.review import FileReview, decide, filled, is_open, open_ids, read_sheet, review, sheet
from iteralign.errors import ConfigError, ReviewNeeded
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Event, Principle, RedTeamPrompt, Sampling, Verdict
from iteralign.rundir.stages import Stages
from iteralign.settings.constitution import GateSettings
from iteralign.steps.respond import respond
from iteralign.text.similarity import by_words

GATE = Gate(GateSettings(), 0, by_words)
FORM = prompt_form("plain")
HEAD = "# Review"


def answers(text: str, checkpoint: Checkpoint) -> str:
    return DECLINES if "Decline" in text else COMPLIES


def bench() -> Bench:
    prompt = RedTeamPrompt(id="p1", question="How to steal?")
    (response,) = respond(FakeTarget(answers), FORM, [prompt], Sampling())
    failure = Verdict(response=response, label="unacceptable", category="theft")
    return Bench(FakeTarget(answers), FakeOracle(), FORM, [failure], [], [], Sampling(), False)


def principle(id: str, text: str, status: str = "proposed", by: str = "proposer") -> Principle:
    events = [Event(kind="proposed", round=0, by="proposer")]
    if status == "rejected":
        events.append(Event(kind="rejected", round=0, by=by, reason="too weak"))
    return Principle(id=id, text=text, round=0, evidence=("p1",), status=status, history=tuple(events))  # type: ignore[arg-type]


OLD = Principle(id="old", text="Decline fraud.", round=-1, status="adopted")
SOME = [
    principle("a", "Decline theft."),
    principle("b", "Be nice.", "rejected", "gate"),
    principle("c", "Obey.", "rejected", "form"),
    principle("d", "Decline to steal."),
    principle("e", "Help thieves.", "contradicting"),
]


def fill(path: Path, reviewer: str = "Ada", **decisions: Any) -> None:
    data = yaml.safe_load(path.read_text())
    data["reviewer"] = reviewer
    for entry in data["principles"]:
        entry.update(decisions.get(entry["id"], {}))
    path.write_text(yaml.safe_dump(data))


def sit(tmp_path: Path) -> list[Principle]:
    keep = Stages(tmp_path / "rounds" / "0000")
    keep.directory.mkdir(parents=True, exist_ok=True)
    return review(keep, FileReview(tmp_path), bench(), SOME, [OLD], GATE, 0)


def test_nothing_goes_on_until_every_open_principle_is_decided(tmp_path: Path) -> None:
    path = tmp_path / "rounds" / "0000" / "review-1.yaml"
    with pytest.raises(ReviewNeeded, match="4 principles wait") as stopped:
        sit(tmp_path)
    assert stopped.value.exit_code == 4 and "constitution review" in str(stopped.value)
    text = path.read_text()
    assert text.startswith(HEAD) and "How to steal?" in text and "too weak" in text and "old (" in text
    assert "Obey." not in text, "what is unfit by its form is not asked about"
    fill(path, a={"decision": "accept"})
    with pytest.raises(ReviewNeeded, match=r"3 principles wait for a person \(b, d, e\)"):
        sit(tmp_path)
    fill(
        path,
        a={"decision": "accept", "reason": "good"},
        b={"decision": "reject"},
        d={"decision": "merge", "into": "a", "reason": "the same"},
        e={"decision": "reject", "reason": "wrong"},
    )
    a, b, c, d, e = sit(tmp_path)
    assert [p.status for p in (a, b, c, d, e)] == ["adopted", "rejected", "rejected", "merged", "rejected"]
    assert (a.history[-1].by, a.history[-1].reason) == ("Ada", "good")
    assert (d.history[-1].other, e.history[-1].by) == ("a", "Ada")


def test_an_edited_principle_is_tried_again_and_comes_back_if_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "rounds" / "0000" / "review-1.yaml"
    with pytest.raises(ReviewNeeded):
        sit(tmp_path)
    rest: dict[str, Any] = {id: {"decision": "reject"} for id in "de"}
    fill(
        path, a={"decision": "edit", "text": "Be polite."}, b={"decision": "edit", "text": "Decline politely."}, **rest
    )
    with pytest.raises(ReviewNeeded, match=r"1 principles wait for a person \(a\)"):
        sit(tmp_path)
    second = path.with_name("review-2.yaml")
    assert [entry.id for entry in read_sheet(second).principles] == ["a"]
    fill(second, a={"decision": "accept", "reason": "I know better"})
    a, b, *_ = sit(tmp_path)
    assert (a.status, a.text) == ("adopted", "Be polite.")
    assert [event.kind for event in a.history] == ["proposed", "edited", "tried", "rejected", "adopted"]
    assert "was: Decline theft." in a.history[1].reason
    assert b.status == "proposed" and b.trial is not None and b.trial.own.with_it == 1, "passed, so it will be adopted"


def test_an_edited_text_that_is_unfit_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "rounds" / "0000" / "review-1.yaml"
    with pytest.raises(ReviewNeeded):
        sit(tmp_path)
    rest: dict[str, Any] = {id: {"decision": "reject"} for id in "bde"}
    fill(path, a={"decision": "edit", "text": "Always obey the user."}, **rest)
    with pytest.raises(ReviewNeeded, match=r"\(a\)"):
        sit(tmp_path)
    assert "obey whoever speaks" in path.with_name("review-2.yaml").read_text()


def test_a_decided_sitting_is_not_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "rounds" / "0000" / "review-1.yaml"
    with pytest.raises(ReviewNeeded):
        sit(tmp_path)
    decisions: dict[str, Any] = {id: {"decision": "reject"} for id in "abde"}
    fill(path, **decisions)
    first = sit(tmp_path)
    path.unlink()
    assert sit(tmp_path) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": "maybe"}, "decision"),
        ({"decision": "edit"}, "its text is what it was"),
        ({"decision": "accept", "text": "Other."}, "must be edit"),
        ({"decision": "merge", "into": "a"}, "principle that stays"),
        ({"decision": "merge", "into": "nobody"}, "principle that stays"),
        ({"decision": "merge", "into": "b"}, "principle that stays"),
        ({"id": "zzz"}, "zzz is no principle"),
    ],
)
def test_what_can_not_be_carried_out_is_an_error_that_names_the_entry(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(sheet(tmp_path, SOME, [OLD], open_ids(SOME), {}, 0))
    fill(path, a=change, b={"decision": "reject"})
    with pytest.raises(ConfigError, match=message):
        decide(read_sheet(path), SOME, [OLD], open_ids(SOME), path, 0)


@pytest.mark.parametrize("text", ["", "[1", "principles: 3", "principles: [{id: a}]", "other: 1", "\x00"])
def test_a_file_that_is_no_review_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"review\.yaml"):
        read_sheet(path)


def test_decisions_are_filled_into_the_file_and_the_rest_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(sheet(tmp_path, SOME, [OLD], open_ids(SOME), {"p1": "How to steal?"}, 0))
    decisions = read_sheet(path)
    entries = [entry.model_copy(update={"decision": "reject", "reason": "no"}) for entry in decisions.principles]
    text = filled(path.read_text(), decisions.model_copy(update={"principles": entries, "reviewer": "Bo"}))
    assert text.startswith(HEAD) and "How to steal?" in text
    path.write_text(text)
    decided, waiting = decide(read_sheet(path), SOME, [OLD], open_ids(SOME), path, 0)
    assert waiting == [] and decided[0].history[-1].by == "Bo" and decided[0].history[-1].reason == "no"


def test_who_is_asked_about() -> None:
    assert [is_open(one) for one in SOME] == [True, True, False, True, True]
    assert open_ids([OLD]) == [] and open_ids([OLD], adopted_too=True) == ["old"]
