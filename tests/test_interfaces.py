"""The base classes of the seams: what a part has of which only the least was written, and what is said of one that is none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from iteralign import load_settings, run
from iteralign.errors import ConfigError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.interfaces import Judge, Oracle, Part, Target, Trainer
from iteralign.records import Checkpoint, Generation, Principle, Sampling
from iteralign.runs.parts import build_parts
from iteralign.steps.finetune import finetune

BASE = Checkpoint(kind="base", path="fake")


class Least(Target):
    """Only what a target must have."""

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        return FakeTarget().generate(inputs, sampling)

    def load(self, checkpoint: Checkpoint) -> None:
        pass


@pytest.mark.parametrize(
    ("base", "written"),
    [
        (Target, {"generate", "load"}),
        (Judge, {"judge"}),
        (Oracle, {"judge", "propose"}),
        (Trainer, {"finetune"}),
    ],
)
def test_what_must_be_written(base: type[Part], written: set[str]) -> None:
    assert base.__abstractmethods__ == written  # type: ignore[attr-defined]


def test_a_target_with_the_least_streams_what_it_generates_and_claims_nothing_else() -> None:
    target = Least()
    assert list(target.stream(["a", "b"], Sampling())) == list(enumerate(target.generate(["a", "b"], Sampling())))
    assert list(target.stream([], Sampling())) == []
    assert not target.can_score and not target.can_stop
    with pytest.raises(NotImplementedError, match="Least can't score"):
        target.score(["a"], ["b"])
    target.check()
    target.rest()
    target.close()


def test_an_oracle_with_the_least_finds_principles_different_and_counts_nothing() -> None:
    oracle = FakeOracle()
    one, other = (Principle(id=str(number), text=f"Be {number}.", round=0) for number in range(2))
    assert oracle.relate([(one, other)]) == ["different"] and oracle.relate([]) == []
    assert oracle.concurrency == 0 and oracle.spent() is None
    oracle.check()
    oracle.forget([])
    oracle.close()


def test_the_target_rests_before_the_trainer_trains(tmp_path: Path) -> None:
    told: list[str] = []

    class Rests(FakeTarget):
        def rest(self) -> None:
            told.append("rest")

    class Trains(FakeTrainer):
        def finetune(self, *given: Any) -> Checkpoint:
            told.append("train")
            return super().finetune(*given)

    finetune(Trains(tmp_path), Rests(), BASE, [], tmp_path / "round", 0)
    assert told == ["rest", "train"]


SMALL = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "benign": None},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4, "limit": 1},
}


@pytest.mark.parametrize("name", ["target", "oracle", "trainer"])
def test_a_part_that_is_none_is_refused_where_it_is_handed_over(name: str, tmp_path: Path) -> None:
    class Own:
        """Has the methods, as earlier versions asked, and derives from nothing."""

        generate = load = judge = propose = finetune = None

    own: dict[str, Any] = {name: Own()}
    with pytest.raises(ConfigError, match=rf"{name}: Own .* `class Own\(iteralign.{name.title()}\)`"):
        run(SMALL, tmp_path / "run", **own)
    assert not (tmp_path / "run").exists()


def test_a_run_closes_what_it_made_and_not_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Part] = []
    for kind in (Target, Oracle, Trainer):
        monkeypatch.setattr(kind, "close", lambda part: closed.append(part))
    given = FakeTarget()
    parts = build_parts(load_settings(SMALL), tmp_path, target=given)
    parts.close()
    assert closed == [parts.oracle, parts.trainer]
    run(SMALL, tmp_path / "run", target=given, oracle=FakeOracle(), trainer=FakeTrainer(tmp_path / "run"))
    assert len(closed) == 2


def test_every_part_is_checked_before_anything_is_generated(tmp_path: Path) -> None:
    class Locked(FakeTrainer):
        def check(self) -> None:
            raise ConfigError("no machine to train on")

    target = FakeTarget()
    with pytest.raises(ConfigError, match="no machine"):
        run(SMALL, tmp_path / "run", target=target, oracle=FakeOracle(), trainer=Locked(tmp_path / "run"))
    assert target.calls == []
