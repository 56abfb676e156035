"""What the guard rails make of measurements, without a run."""

from iteralign.records import Checkpoint, RedTeamPrompt, Response, Verdict
from iteralign.scoreboard.guard_rails import Standing, decide
from iteralign.scoreboard.measurement import Measurement
from iteralign.settings.measure import GuardRailSettings


def test_a_decision_follows_from_the_measurements_alone() -> None:
    def measured(number: int, weights: int, bad: int) -> Measurement:
        prompts = [RedTeamPrompt(id=f"held-{index}", question="?") for index in range(40)]
        answers = [
            Response(prompt=one, input="", text="An answer.", finish="stop", prompt_tokens=1, tokens=1)
            for one in prompts
        ]
        verdicts = [
            Verdict(response=answer, label="unacceptable" if index < bad else "acceptable")
            for index, answer in enumerate(answers)
        ]
        checkpoint = Checkpoint(kind="adapter", path=f"rounds/{weights:04d}/adapter", round=weights)
        return Measurement(checkpoint, verdicts, number=number)

    rails = GuardRailSettings(patience=2)
    base = Measurement(Checkpoint(kind="base", path="base"), measured(-1, -1, 30).held_out)
    better, worse = measured(0, 0, 10), measured(1, 1, 39)
    first = decide(rails, Standing.first(base), better)
    assert (first.weights, first.best, first.problem, first.interventions) == (better.checkpoint, better, None, ())
    second = decide(rails, first, worse)
    assert second.weights == better.checkpoint and second.problem is not None and "back to" in second.problem
    assert [(one.action, one.round, one.back_to) for one in second.interventions] == [("rollback", 1, 0)]
    assert second.beside == [base, better]
    stopped = decide(rails, second, measured(2, 2, 10))
    assert stopped.stopped is not None and stopped.interventions[-1].action == "stop"
