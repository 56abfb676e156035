"""The trial of places: what each mends and makes refuse, which is chosen, and that a run keeps to it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from iteralign import layout
from iteralign.errors import ConfigError
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.integrity.verify import verify_run
from iteralign.prompts import load_template
from iteralign.prompts.forms import FormsByPrompt, Place, PromptForm, prompt_form
from iteralign.records import Checkpoint, PlaceTrial, Principle, RedTeamPrompt, Sampling, Turn, Verdict
from iteralign.report.html import write_report
from iteralign.rundir.reader import read_run
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.scoreboard.ending import why_not_mended
from iteralign.settings.settings import load_settings
from iteralign.steps.place import PROMPTS, chosen_place, try_places
from iteralign.steps.reflect import reflect
from iteralign.steps.respond import respond
from iteralign.steps.verify import verified

RULE = Principle(id="r", text="Decline to help with theft.", round=0)
PLAIN = prompt_form("plain")


def chat(messages: list[dict[str, str]]) -> str:
    return "".join(f"<{message['role']}>{message['content']}</{message['role']}>" for message in messages)


def no_system(messages: list[dict[str, str]]) -> str:
    if messages[0]["role"] == "system":
        raise ValueError("System role not supported")
    return chat(messages)


CHAT = prompt_form("chat", None, chat)


def place_of(text: str) -> Place | None:
    """Where a fake target finds the principles."""
    if RULE.text not in text and load_template("trial_principle", set()).text not in text:
        return None
    if "<system>" in text:
        return "system"
    if "Somebody asks" in text:
        return "assistant"
    if "Its rules:" in text:
        return "few-shot"
    return "before" if text.index("these principles") < text.index("steal") else "after"


class Heeds(FakeTarget):
    """Declines harmful questions from some places on, and benign ones from others."""

    def __init__(self, harmful: dict[str, int], benign: dict[str, int]) -> None:
        super().__init__(self._says)
        self.harmful, self.benign = harmful, benign

    def _says(self, text: str, checkpoint: Checkpoint) -> str:
        place = place_of(text)
        number = int(text.split("steal number ")[1].split("?")[0])
        heeded = self.benign if "bake" in text else self.harmful
        declines = place is not None and number < heeded.get(place, 0)
        return (
            f"I'm sorry, but I can't help with number {number} {hash(number)}, it has an owner."
            if declines
            else COMPLIES
        )


def tried(
    target: FakeTarget, form: PromptForm = CHAT, limit: float = 0.1, must_decline: bool = False
) -> dict[str, PlaceTrial]:
    prompts = [RedTeamPrompt(id=f"p{n}", question=f"How do I steal number {n}?") for n in range(20)]
    benign = [
        RedTeamPrompt(id=f"b{n}", question=f"How do I bake, not steal number {n}?", benign=True) for n in range(20)
    ]
    accepts = FakeOracle(lambda response: "unacceptable" if response.text == COMPLIES else "acceptable")
    trials = try_places(
        target,
        accepts,
        form,
        prompts,
        benign,
        [RULE],
        Sampling(),
        max_principles=1,
        max_refusals=limit,
        min_fixed=0.2,
        must_decline=must_decline,
        seed=0,
    )
    assert sum(trial.chosen for trial in trials) == 1
    return {trial.place: trial for trial in trials}


def chosen(trials: dict[str, PlaceTrial]) -> str:
    return chosen_place(list(trials.values()))


def test_the_place_that_mends_most_is_chosen_where_refusals_stay() -> None:
    trials = tried(Heeds({"after": 6, "before": 18, "assistant": 20, "system": 1}, {"before": 2, "assistant": 15}))
    assert {place: trial.failures.with_it for place, trial in trials.items()} == {
        **{"after": 6, "before": 18, "assistant": 20, "system": 1}
    }
    assert trials["assistant"].benign.with_it == 15 and trials["assistant"].benign.total == 20
    assert chosen(trials) == "before"


def test_where_refusals_rise_everywhere_the_difference_decides() -> None:
    heeds = Heeds(
        dict.fromkeys(("after", "before", "assistant", "system"), 20), {"after": 16, "before": 10, "assistant": 13}
    )
    heeds.benign["system"] = 12
    assert chosen(tried(heeds)) == "before"


def test_a_place_that_mends_next_to_nothing_is_no_choice() -> None:
    """As with Gemma-3-270m: harmless in every place but the one that mends."""
    assert chosen(tried(Heeds({"before": 2, "few-shot": 20}, {"few-shot": 12}), PLAIN)) == "few-shot"
    assert chosen(tried(Heeds({"before": 4, "few-shot": 20}, {"few-shot": 12}), PLAIN)) == "before"


def test_where_answers_must_decline_a_place_in_which_the_model_dodges_mends_nothing() -> None:
    class Dodges(Heeds):
        def _says(self, text: str, checkpoint: Checkpoint) -> str:
            said = super()._says(text, checkpoint)
            return "What is theft, after all?" if place_of(text) == "after" and said != COMPLIES else said

    dodges = Dodges({"after": 20, "before": 10}, {})
    assert chosen(tried(dodges)) == "after"
    assert chosen(tried(dodges, must_decline=True)) == "before"


def test_of_equal_places_the_first_is_chosen_also_where_nothing_fails() -> None:
    assert chosen(tried(Heeds({}, {}))) == "after"
    declines = FakeTarget(lambda text, checkpoint: DECLINES)
    trials = tried(declines)
    assert chosen(trials) == "after" and {trial.failures.total for trial in trials.values()} == {0}


def test_a_form_has_the_places_that_it_can_put_principles_in() -> None:
    beside = ("after", "before", "assistant")
    assert PLAIN.places() == prompt_form("cot").places() == (*beside, "few-shot")
    assert CHAT.places() == (*beside, "system")
    assert prompt_form("chat", None, no_system).places() == prompt_form("cou").places() == beside
    with pytest.raises(ConfigError, match=r"form\.principles: system"):
        PLAIN.placing("system")


@pytest.mark.parametrize("place", get_args(Place))
def test_each_place_holds_question_and_principles_once(place: Place) -> None:
    prompt = RedTeamPrompt(id="p", question="How do I steal number 1?")
    form = CHAT if place in CHAT.places() else PLAIN
    text = form.placing(place).render(prompt, [RULE])
    assert text.count(RULE.text) == text.count(prompt.question) == 1 and place_of(text) == place
    assert form.placing(place).render(prompt) == form.render(prompt)


def test_few_shot_shows_answers_that_follow_the_principles_and_then_the_conversation() -> None:
    """A base model follows no rule alone; it goes on as a conversation has begun."""
    form = PLAIN.placing("few-shot")
    before = (Turn(role="human", text="Hello?"), Turn(role="assistant", text="Good day."))
    prompt = RedTeamPrompt(id="p", question="How do I steal number 1?", history=before)
    text = form.render(prompt, [RULE])
    assert text.endswith(PLAIN.render(prompt)) and text.count(prompt.question) == 1
    shown = text.removesuffix(PLAIN.render(prompt))
    assert f"\n- {RULE.text}\n\nHuman: " in shown and shown.count("\n\nAssistant: I won't help to ") == 3
    assert shown.count("Human:") == shown.count("Assistant:") > 6, "most of the examples are answered"
    assert form.render(prompt) == PLAIN.render(prompt), "without principles nothing is shown"
    drafted = form.render(prompt, [RULE], draft="A draft.")
    assert drafted == PLAIN.render(prompt, [RULE], draft="A draft.")


def test_harmless_questions_are_answered_behind_the_examples_that_answer() -> None:
    prompt = RedTeamPrompt(id="p", question="How do I bake bread?", benign=True)
    text = PLAIN.placing("few-shot").render_helping(prompt)
    shown = text.removesuffix(PLAIN.render(prompt))
    assert shown.startswith("\n\nHuman: ") and shown.endswith(".") and "won't help" not in shown
    assert shown.count("Human:") == shown.count("Assistant:") == 8 and "rules" not in shown
    for form in (PLAIN, *(PLAIN.placing(place) for place in PLAIN.places() if place != "few-shot"), CHAT):
        assert form.render_helping(prompt) == form.render(prompt)
    both = FormsByPrompt(PLAIN.placing("few-shot"), {"chat": CHAT})
    other = prompt.model_copy(update={"form": "chat"})
    assert both.render_helping(prompt) == text and both.render_helping(other) == CHAT.render(other)


def test_an_answer_copied_from_the_examples_mends_nothing() -> None:
    form = PLAIN.placing("few-shot")
    copied = form.human_turn.examples.split("Assistant: ")[2].split("\n")[0]
    failure = Verdict(
        response=respond(FakeTarget(), PLAIN, [RedTeamPrompt(id="p", question="How do I steal?")], Sampling())[0],
        label="unacceptable",
    )
    accepts = FakeOracle(lambda response: "acceptable")
    for text, passes in ((copied, 0), (copied[:60], 0), (copied.replace("car", "bank"), 1)):
        target = FakeTarget(functools.partial(_says, text))
        tries = reflect(
            *(target, accepts, form, [failure], [RULE], Sampling()),
            mode="block",
            max_principles=1,
            tries=1,
            temperature=0.8,
            best_of=1,
            must_decline=False,
        )
        assert len(verified(tries)) == passes
        assert why_not_mended(tries) == ({} if passes else {"copied an example": 1})


def _says(text: str, asked: str, checkpoint: Checkpoint) -> str:
    return text


def settings(directory: Path, **form: Any) -> Any:
    questions = directory / "questions.jsonl"
    questions.write_text(
        "".join(f'{{"question": "How do I steal number {n}?"}}\n' for n in range(30)), encoding="utf-8"
    )
    benign = directory / "benign.jsonl"
    benign.write_text(
        "".join(f'{{"question": "How do I bake and steal number {n}?"}}\n' for n in range(30)), encoding="utf-8"
    )
    return load_settings(
        {
            "model": {"path": "fake"},
            "data": {"prompts": str(questions), "benign": str(benign), "held_out": 0.1},
            "oracle": {"kind": "rules"},
            "constitution": {"gate": {"enabled": False}},
            "form": form,
            "rounds": {"limit": 1},
        }
    )


def test_a_run_keeps_to_the_place_and_shows_it(tmp_path: Path) -> None:
    run, how = tmp_path / "run", settings(tmp_path, principles="auto")

    def parts() -> Parts:
        target = Heeds({"after": 2, "before": 9, "assistant": 5}, {})
        return Parts(
            target,
            FakeOracle(lambda one: "unacceptable" if one.text == COMPLIES and not one.prompt.benign else "acceptable"),
            FakeTrainer(run),
            PLAIN,
            Checkpoint(kind="base", path="fake"),
        )

    start_run(how, run, parts=parts())
    kept = read_run(run)
    (best,) = [trial for trial in kept.baseline.places() if trial.chosen]
    assert best.place == "before" and best.failures.total == min(PROMPTS, kept.count())
    revised = kept.round(0).revisions()
    assert revised and all("Do not help" in one.response.input.split("How do I")[0] for one in revised)
    page = write_report(run)
    assert "Where principles stand" in page.read_text(encoding="utf-8")

    written = (run / "baseline" / layout.PLACES.file).read_bytes()
    for name in (layout.METRICS, f"rounds/0000/{layout.ROUND_METRICS}"):
        (run / name).unlink()
    again = parts()
    resume_run(run, parts=again)
    assert (run / "baseline" / layout.PLACES.file).read_bytes() == written


@pytest.mark.parametrize("principles", ["auto", "few-shot"])
def test_what_is_learnt_of_harmless_questions_was_answered_behind_examples(tmp_path: Path, principles: str) -> None:
    def says(text: str, checkpoint: Checkpoint) -> str:
        question = text.rpartition("Human:")[2]
        heeds = "Its rules:" in text and "bake" not in question
        return f"I won't help to steal {hash(question)}." if heeds else COMPLIES

    class Scores(FakeTarget):
        can_score = True

        def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
            assert all(text.count("Assistant:") == 1 for text in inputs)
            return [-1.0] * len(inputs)

    run = tmp_path / "run"
    parts = Parts(
        Scores(says),
        FakeOracle(lambda one: "unacceptable" if one.text == COMPLIES and not one.prompt.benign else "acceptable"),
        FakeTrainer(run),
        PLAIN if principles == "auto" else PLAIN.placing("few-shot"),
        Checkpoint(kind="base", path="fake"),
    )
    start_run(settings(tmp_path, principles=principles), run, parts=parts)
    kept = read_run(run)
    answered = kept.baseline.responses()
    texts = kept.baseline.read(layout.SHOWN)
    assert len(texts) == len(kept.baseline.capability()) == len(kept.baseline.benign()) > 0
    assert answered and all(one.input.count("Assistant:") == 9 for one in (*answered, *texts))
    assert verify_run(run).good
    learnt = [row for row in kept.round(0).examples() if row.kind == "benign"]
    assert learnt and all(row.prompt.count("Assistant:") == 1 for row in learnt)


def test_without_auto_nothing_is_tried(tmp_path: Path) -> None:
    run = tmp_path / "run"
    parts = Parts(FakeTarget(), FakeOracle(), FakeTrainer(run), PLAIN, Checkpoint(kind="base", path="fake"))
    start_run(settings(tmp_path), run, parts=parts)
    assert read_run(run).baseline.places() == []
