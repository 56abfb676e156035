"""The table of a run's rounds: of one screen, however many they are."""

from rich.console import Console

from iteralign.cli.rounds_table import rounds_table
from iteralign.scoreboard.metrics import Count, RoundMetrics


def shown(rounds: int) -> list[list[str]]:
    rows = [
        RoundMetrics(
            round=number,
            prompts=20,
            failures=number % 2,
            principles=number % 2,
            revised=number % 2,
            held_out=Count(count=number // 100, total=100) if number % 10 == 0 and number > 0 else None,
        )
        for number in range(-1, rounds)
    ]
    seconds = {f"{number:04d}": 2.0 for number in range(rounds)}
    console = Console(width=120, file=None, record=True, quiet=False)
    with console.capture() as written:
        console.print(rounds_table(rows, seconds))
    return [line.split() for line in written.get().splitlines() if line.strip()]


def test_a_short_run_has_a_line_a_round() -> None:
    assert [line[0] for line in shown(20)[-21:]] == ["base", *(str(number) for number in range(20))]


def test_the_first_rounds_of_a_long_run_share_a_line_with_their_sums() -> None:
    lines = shown(6636)
    assert len(lines) < 20
    folded = next(line for line in lines if line[0] == "0-6623")
    assert folded[1:5] == ["132480", "3312", "3312", "0/3312"] and folded[5].startswith("66.0%"), folded
    assert "3:40:48" in folded and [line[0] for line in lines[-12:]] == [str(number) for number in range(6624, 6636)]
