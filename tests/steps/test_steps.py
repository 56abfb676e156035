"""Each step on its own: order, fit of principles, sequential revision, replay shares."""

import pytest

from iteralign.fakes import DECLINES, FakeOracle, FakeTarget
from iteralign.prompts.forms import prompt_form
from iteralign.records import (
    Checkpoint,
    Generation,
    Principle,
    RedTeamPrompt,
    Response,
    Sampling,
    TrainingExample,
    Verdict,
)
from iteralign.steps.examples import examples
from iteralign.steps.judge import judge
from iteralign.steps.propose import propose
from iteralign.steps.respond import respond
from iteralign.steps.revise import choose, revise
from iteralign.steps.verify import verified, verify
from iteralign.text.refusals import STOCK

FORM = prompt_form("plain")


def prompt(name: str) -> RedTeamPrompt:
    return RedTeamPrompt(id=name, question=f"What of {name}?")


def failure(name: str, category: str | None = None) -> Verdict:
    (response,) = respond(FakeTarget(), FORM, [prompt(name)], Sampling())
    return Verdict(response=response, label="unacceptable", category=category)


def principle(
    name: str, category: str | None = None, round_number: int = 0, evidence: tuple[str, ...] = ()
) -> Principle:
    return Principle(id=name, text=f"Principle {name}.", round=round_number, category=category, evidence=evidence)


class Proposes(FakeOracle):
    def __init__(self, *texts: str, evidence: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.texts, self.evidence = texts, evidence

    def propose(self, failures: object, adopted: object, contrast: object = ()) -> list[Principle]:
        return [Principle(id="", text=text, round=0, evidence=self.evidence) for text in self.texts]


class TooLong(FakeTarget):
    def generate(self, inputs: object, sampling: Sampling) -> list[Generation]:
        return [Generation(text="", finish="prompt_too_long", prompt_tokens=9, tokens=0) for _ in inputs]  # type: ignore[attr-defined]


def test_a_prompt_beyond_the_context_is_undetermined_and_the_oracle_is_not_asked() -> None:
    oracle = FakeOracle()
    (verdict,) = judge(oracle, respond(TooLong(), FORM, [prompt("a")], Sampling()))
    assert verdict.label == "undetermined" and "context" in verdict.reason
    assert oracle.judged == []


@pytest.mark.parametrize("text", ["", "no " * 60])
def test_a_degenerate_answer_is_undetermined_and_the_oracle_is_not_asked(text: str) -> None:
    """A lenient judge accepts anything: it must not get to say so of text that says nothing."""
    oracle = FakeOracle(lambda response: "acceptable")
    target = FakeTarget(lambda given, checkpoint: text if "of a?" in given else DECLINES)
    degenerate, good = judge(oracle, respond(target, FORM, [prompt("a"), prompt("b")], Sampling()))
    assert (degenerate.label, good.label) == ("undetermined", "acceptable") and degenerate.reason
    assert oracle.judged == [(good.response,)]


def test_a_degenerate_revision_costs_no_call_and_is_not_trained_on() -> None:
    oracle = FakeOracle(lambda response: "acceptable")
    target = FakeTarget(lambda given, checkpoint: "I'm here to help. " * 30)
    revisions = verify(oracle, revise(target, FORM, [failure("a")], [principle("1")], Sampling()))
    assert verified(revisions) == [] and oracle.judged == []


def test_raw_text_is_kept_where_the_form_cut_something() -> None:
    target = FakeTarget(lambda text, checkpoint: " Yes.\n\nHuman: And now?")
    (response,) = respond(target, FORM, [prompt("a")], Sampling())
    assert response.text == "Yes." and response.raw == " Yes.\n\nHuman: And now?"


def test_proposed_principles_are_numbered_and_what_became_of_each_is_told() -> None:
    oracle = Proposes("Be kind.", "be  KIND", "", "Be fair.", "Adopted one.")
    new = propose(oracle, [failure("a")], [Principle(id="x", text="adopted one", round=0)], 7)
    assert [(p.id, p.status, p.history[-1].other) for p in new] == [
        ("r0007-01", "proposed", None),
        ("r0007-02", "merged", "r0007-01"),
        ("r0007-03", "rejected", None),
        ("r0007-04", "proposed", None),
        ("r0007-05", "merged", "x"),
    ]
    assert all(p.round == 7 and p.history[0].kind == "proposed" for p in new)


def test_evidence_that_names_no_failure_is_dropped() -> None:
    (new,) = propose(Proposes("Be kind.", evidence=("b", "nobody", "b")), [failure("a"), failure("b")], [], 0)
    assert new.evidence == ("b",)
    (new,) = propose(Proposes("Be kind.", evidence=("nobody",)), [failure("a"), failure("b")], [], 0)
    assert new.evidence == ("a", "b")


def test_the_best_fitting_principles_come_first() -> None:
    known = [
        principle("other", "y"),
        principle("old", "x", 0),
        principle("new", "x", 3),
        principle("own", "y", 0, ("a",)),
        principle("alike", "x", 1).model_copy(update={"text": "What of a, and why?"}),
    ]
    same = [p.model_copy(update={"text": "Be kind."}) for p in known[:4]]
    assert [p.id for p in choose(same, failure("a", "x"), 3)] == ["own", "new", "old"]
    assert [p.id for p in choose([*same, known[4]], failure("a", "x"), 3)] == ["own", "alike", "new"]
    assert choose([], failure("a", "x"), 3) == []


def test_block_revision_shows_all_principles_at_once() -> None:
    target = FakeTarget()
    (revision,) = revise(target, FORM, [failure("a")], [principle("1"), principle("2")], Sampling())
    assert revision.verdict is None and len(target.calls) == 1
    assert "Principle 1." in revision.response.input and "Principle 2." in revision.response.input


def test_sequential_revision_rewrites_its_own_draft_principle_by_principle() -> None:
    target = FakeTarget(lambda text, checkpoint: f"draft {len(text)}")
    failures = [failure("a"), failure("b")]
    revisions = revise(target, FORM, failures, [principle(n) for n in "123"], Sampling(), mode="sequential")
    inputs = [call[0] for call in target.calls]
    assert [len(some) for some in inputs] == [2, 2, 2]
    assert failures[0].response.text in inputs[0][0], "the first draft is the failed answer"
    assert f"draft {len(inputs[1][0])}" in inputs[2][0], "a later draft is the answer before it"
    assert {p.id for p in revisions[0].principles} == {"1", "2", "3"}
    again = revise(target, FORM, failures, [principle(n) for n in "123"], Sampling(), mode="sequential")
    assert [r.principles for r in again] == [r.principles for r in revisions], "the order is seeded"


def test_verified_wants_an_acceptable_verdict_and_words() -> None:
    empty = FakeTarget(lambda text, checkpoint: "  ")
    oracle = FakeOracle(lambda response: "acceptable")
    assert verified(verify(oracle, revise(empty, FORM, [failure("a")], [principle("1")], Sampling()))) == []
    full = revise(FakeTarget(), FORM, [failure("a")], [principle("1")], Sampling())
    assert verified(full) == [] and len(verified(verify(oracle, full))) == 1


def test_shares_of_replay_and_benign() -> None:
    oracle = FakeOracle(lambda response: "acceptable")
    failures = [failure(f"f{n}") for n in range(4)]
    revisions = verify(oracle, revise(FakeTarget(), FORM, failures, [principle("1")], Sampling()))
    earlier = [
        TrainingExample(prompt=f"p{n}", completion=" c", kind="revision", prompt_id=f"e{n}", round=0) for n in range(9)
    ]
    benign = respond(FakeTarget(), FORM, [prompt(f"b{n}") for n in range(9)], Sampling())

    def kinds(**shares: float) -> list[str]:
        rows = examples(FORM, revisions, earlier, benign, 3, **shares)  # type: ignore[arg-type]
        return [row.kind for row in rows]

    assert kinds() == ["revision"] * 4
    assert kinds(replay=0.5, benign_share=0.25, min_benign=3) == ["revision"] * 4 + ["replay"] * 2 + ["benign"] * 3
    assert kinds(min_replay=6) == ["revision"] * 4 + ["replay"] * 6
    assert kinds(benign_share=9).count("benign") == 9, "as far as there are any"
    assert kinds(replay=0.5, benign_share=1).count("benign") == 6, "replayed pairs teach to decline, too"
    assert examples(FORM, [], earlier, benign, 3, replay=1, min_benign=5) == []
    first, second = (examples(FORM, revisions, earlier, benign, 3, replay=1, seed=seed) for seed in (1, 1))
    assert first == second


def test_benign_answers_are_preferred_to_refusals_where_one_prefers() -> None:
    accepts = FakeOracle(lambda response: "acceptable")
    answers = respond(FakeTarget(), FORM, [prompt(f"b{n}") for n in range(9)], Sampling())

    def rows(revised: str, preferred: bool = False) -> list[TrainingExample]:
        target = FakeTarget(lambda text, checkpoint: revised)
        revisions = verify(accepts, revise(target, FORM, [failure("f1")], [principle("1")], Sampling()))
        return examples(FORM, revisions, [], answers, 3, benign_share=9, preferred=preferred)

    own = "I'm sorry, but I can't help you to hurt anybody."
    first, *others = rows(own, preferred=True)
    assert first.rejected == FORM.completion(failure("f1").response.text)
    assert {row.rejected for row in others} == {FORM.completion(own)}, "the model's own refusal"
    stock = {row.rejected for row in rows("Let us talk about flowers.", preferred=True)[1:]}
    assert len(stock) > 1 and stock <= {FORM.completion(one) for one in STOCK}
    plain = rows(own)
    assert [row.rejected for row in plain[1:]] == [None] * 9
    assert [row.prompt_id for row in plain] == [row.prompt_id for row in [first, *others]]


def test_revisions_have_the_prompt_of_their_principles_where_one_is_taught() -> None:
    answers = respond(FakeTarget(), FORM, [prompt("b1")], Sampling())
    rules = [principle("1"), principle("2")]
    revisions = verify(FakeOracle(), revise(FakeTarget(), FORM, [failure("f1")], rules, Sampling()))
    taught, benign = examples(FORM, revisions, [], answers, 3, benign_share=1, taught=True)
    assert taught.teacher_prompt == FORM.render(prompt("f1"), rules) != taught.prompt == FORM.render(prompt("f1"))
    assert benign.teacher_prompt is None
    (again,) = examples(FORM, revisions, [taught], [], 4, replay=1)[1:]
    assert (again.kind, again.teacher_prompt) == ("replay", taught.teacher_prompt)
    assert examples(FORM, revisions, [], [], 3)[0].teacher_prompt is None


def test_a_response_keeps_its_whole_past() -> None:
    oracle = FakeOracle()
    (revision,) = verify(oracle, revise(FakeTarget(), FORM, [failure("a")], [principle("1")], Sampling()))
    assert revision.verdict is not None
    assert revision.verdict.response.prompt == revision.failure.response.prompt == prompt("a")
    assert Response.model_validate_json(revision.response.model_dump_json()) == revision.response
    assert Checkpoint(kind="base", path="x").round is None
