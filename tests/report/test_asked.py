"""The map of what was asked: by category and form, with what of the rest would fail."""

from iteralign.records import Draw, Label, RedTeamPrompt, Response, Verdict
from iteralign.redteam.forms import in_forms
from iteralign.report.asked import AskedRounds, Cell

POOL = in_forms(
    [
        RedTeamPrompt(id=f"{name}{n}", question=f"{name} {n}", category=name)
        for name in ("a", "b", "c")
        for n in range(20)
    ],
    ["cou"],
)


def verdict(prompt: RedTeamPrompt, label: Label) -> Verdict:
    return Verdict(
        response=Response(prompt=prompt, input="", text="", finish="stop", prompt_tokens=1, tokens=1), label=label
    )


def asked(
    asking: AskedRounds, number: int, places: range, label: Label, trained: bool = False, drawn: bool = True
) -> None:
    prompts = [POOL[place] for place in places]
    draws = [Draw(prompt=prompt, probability=0.01, least=0.01, unasked=100) for prompt in prompts] if drawn else []
    asking.add(number, [verdict(prompt, label) for prompt in prompts], draws, trained)


def test_what_was_asked_what_failed_and_what_was_never_asked() -> None:
    asking = AskedRounds("plain")
    asked(asking, 0, range(0, 5), "unacceptable", trained=True)
    asked(asking, 1, range(5, 10), "acceptable")
    asked(asking, 2, range(60, 64), "unacceptable")
    made = asking.map(POOL)
    first, second = made.rows[:2]
    assert (first.category, first.form, first.cells) == ("a", "plain", [Cell(5, 5), Cell(0, 5), Cell(0, 0)])
    assert (first.total, first.never, first.total.shade) == (Cell(5, 10), 10, 5)
    assert (second.category, second.form, second.total, second.never) == ("a", "cou", Cell(4, 4), 16)
    assert made.columns == ["0", "1", "2"] and made.untouched == 4 and made.never == 120 - 14
    assert made.since == 1 and made.rate is not None and made.rate.draws == 9
    assert abs(made.rate.value - 4 / 9) < 1e-9 and first.rate is not None and first.rate.value == 0
    assert second.rate is not None and second.rate.value == 1 and made.rows[2].rate is None


def test_what_was_not_drawn_by_chance_has_no_rate() -> None:
    asking = AskedRounds("plain")
    asked(asking, 0, range(0, 5), "unacceptable", drawn=False)
    made = asking.map(POOL)
    assert made.rate is None and made.since is None and made.rows[0].rate is None


def test_a_long_run_has_a_small_map() -> None:
    pool = [RedTeamPrompt(id=str(n), question=str(n), category=f"c{n % 300}") for n in range(3000)]
    asking = AskedRounds("plain")
    for number in range(150):
        asking.add(number, [verdict(one, "unacceptable") for one in pool[20 * number : 20 * number + 20]], [], False)
    made = asking.map(pool)
    assert len(made.columns) <= 24 and len(made.rows) == 24 and made.left_out == 276
    assert sum(cell.asked for cell in made.rows[0].cells) == made.rows[0].total.asked == 10
