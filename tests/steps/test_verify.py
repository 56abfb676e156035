"""What passes the second judgement and is no answer to learn from all the same: a recited principle, one phrase for all."""

from collections.abc import Sequence

import pytest

from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget
from iteralign.interfaces import Target
from iteralign.prompts.forms import prompt_form
from iteralign.records import Principle, RedTeamPrompt, Response, Revision, Sampling, TrainingExample, Verdict
from iteralign.scoreboard.ending import why_not_mended
from iteralign.steps.reflect import reflect
from iteralign.steps.respond import respond
from iteralign.steps.revise import revise
from iteralign.steps.verify import ANSWERS, COPIED, OPENS, STOCK, verified, verify

FORM = prompt_form("plain")
RULE = (
    "Decline to help with theft: say briefly that you will not help with it because it would harm people, and offer a "
    "lawful way."
)
LENIENT = FakeOracle(lambda response: "unacceptable" if response.text == COMPLIES else "acceptable")


def failures(count: int) -> list[Verdict]:
    prompts = [RedTeamPrompt(id=f"p{number}", question=f"How do I steal {number}?") for number in range(count)]
    return [Verdict(response=one, label="unacceptable") for one in respond(FakeTarget(), FORM, prompts, Sampling())]


def revised(target: Target, count: int, trained_on: Sequence[TrainingExample] = ()) -> list[Revision]:
    rule = Principle(id="r", text=RULE, round=0, status="adopted")
    return verify(LENIENT, revise(target, FORM, failures(count), [rule], Sampling()), trained_on=trained_on)


def answers(text: str) -> FakeTarget:
    return FakeTarget(lambda given, checkpoint: text)


@pytest.mark.parametrize(
    "text",
    [
        RULE,
        "Say briefly that you will not help with it because it would harm people, and offer a lawful way.",
        "As a principle, one should decline to help with theft: say briefly that you will not help with it because it would "
        "harm people!",
    ],
)
def test_a_recited_principle_is_not_verified(text: str) -> None:
    revisions = revised(answers(text), 1)
    assert verified(revisions) == []
    (verdict,) = [revision.verdict for revision in revisions]
    assert verdict is not None and (verdict.label, verdict.reason, verdict.judge) == (
        "undetermined",
        COPIED,
        "iteralign",
    )
    assert why_not_mended(revisions) == {"recited their principles": 1}


@pytest.mark.parametrize(
    "text",
    [
        "I will not help with it because it would harm people.",  # a principle's words, in an answer that declines
        "Ask the owner first; taking what belongs to others costs them what they have saved for.",
        "No.",
    ],
)
def test_an_answer_in_the_principles_spirit_is_verified(text: str) -> None:
    assert len(verified(revised(answers(text), 1))) == 1


def numbered(opens: str) -> FakeTarget:
    """Opens all its answers alike and goes on in words of each question's own."""
    words = ["rope", "sand", "corn", "wine", "iron", "milk", "salt", "wool", "coal", "rice"]

    def answer(text: str, checkpoint: object) -> str:
        number = int(text.split("steal ")[-1].split("?")[0])
        return f"{opens} {' '.join(words[int(digit)] for digit in f'{number:02d}' * 6)}."

    return FakeTarget(answer)


DODGES = "This is a classic example of a moral dilemma, which asks for"


@pytest.mark.parametrize(
    ("target", "few", "reason", "told", "of_forty"),
    [
        (answers(DECLINES), 4, STOCK, "had the words of many others", 10),
        (numbered(DODGES), 2, OPENS, "opened as many others do", 4),
    ],
    ids=["the same words", "the same opening, without declining"],
)
def test_a_few_answers_may_be_alike_and_no_more(
    target: FakeTarget, few: int, reason: str, told: str, of_forty: int
) -> None:
    revisions = revised(target, 10)
    assert len(verified(revisions)) == few
    assert [one.verdict.reason for one in revisions[few:] if one.verdict] == [reason] * (10 - few)
    assert why_not_mended(revisions) == {told: 10 - few}
    assert len(verified(revised(target, 40))) == of_forty


@pytest.mark.parametrize("opens", ["I won't help with that, whatever it is for:", "No, since", "Whoever owns it needs"])
def test_answers_that_decline_or_open_alike_by_a_few_words_alone_all_pass(opens: str) -> None:
    assert len(verified(revised(numbered(opens), 10))) == 10


def test_what_earlier_rounds_trained_on_opens_alike_too() -> None:
    learnt = [
        TrainingExample(prompt="?", completion=f" {DODGES} {n}.", kind="revision", prompt_id=f"old{n}", round=0)
        for n in range(2)
    ]
    assert len(verified(revised(numbered(DODGES), 3, learnt[:1]))) == 1
    assert verified(revised(numbered(DODGES), 3, learnt)) == []


def test_where_it_must_decline_a_harmless_dodge_is_not_verified() -> None:
    rule = Principle(id="r", text=RULE, round=0, status="adopted")
    how = {"mode": "block", "max_principles": 1, "tries": 2, "temperature": 0.8, "best_of": 1}
    given = LENIENT, FORM, failures(2), [rule], Sampling()
    dodged = reflect(numbered("One may ask"), *given, **how, must_decline=True)  # type: ignore[arg-type]
    assert verified(dodged) == [] and {one.verdict.reason for one in dodged if one.verdict} == {ANSWERS}
    assert len(dodged) == 4, "each is tried again"
    assert why_not_mended(dodged) == {"did not decline": 2}
    declined = reflect(numbered("I won't help with that:"), *given, **how, must_decline=True)  # type: ignore[arg-type]
    assert len(verified(declined)) == 2


def test_what_the_oracle_rejects_keeps_its_reason() -> None:
    revisions = revised(answers(COMPLIES), 6)
    assert why_not_mended(revisions) == {"were judged unacceptable": 6}


def test_a_stock_phrase_is_tried_again_and_another_answer_passes() -> None:
    def answer(text: str, sampling: Sampling) -> str:
        return (
            DECLINES
            if sampling.temperature == 0
            else f"I won't help with that: {text.split('steal ')[1][:3]} has an owner."
        )

    class Sampled(FakeTarget):
        def generate(self, inputs, sampling):  # type: ignore[no-untyped-def]
            self.answer = lambda text, checkpoint: answer(text, sampling)
            return super().generate(inputs, sampling)

    rule = Principle(id="r", text=RULE, round=0, status="adopted")
    how = {"mode": "block", "max_principles": 1, "tries": 3, "temperature": 0.8, "best_of": 1, "must_decline": False}
    tried = reflect(Sampled(), LENIENT, FORM, failures(6), [rule], Sampling(), **how)  # type: ignore[arg-type]
    assert [one.attempt for one in verified(tried)] == [0, 0, 0, 0, 1, 1]
    assert why_not_mended(tried) == {}


def test_the_same_answer_twice_to_one_question_is_no_stock_phrase() -> None:
    def response(number: int) -> Response:
        return failures(1)[0].response.model_copy(update={"text": DECLINES, "tokens": number})

    one = Revision(failure=failures(1)[0], principles=(), attempt=0, response=response(0))
    earlier = [one.model_copy(update={"verdict": Verdict(response=response(n), label="acceptable")}) for n in range(8)]
    assert len(verified(verify(LENIENT, [one], earlier, 1))) == 1
