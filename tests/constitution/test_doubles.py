"""Doubles are merged, contradictions are marked, and what nobody can compare is noted."""

from collections.abc import Sequence

from iteralign.constitution.doubles import Doubles, compare
from iteralign.constitution.ledger import adopt, extend, in_force
from iteralign.fakes import FakeOracle
from iteralign.records import Event, Principle, Relation
from iteralign.settings.constitution import ConstitutionSettings
from iteralign.text.similarity import by_words

DOUBLES = Doubles(ConstitutionSettings(), by_words)


def proposed(id: str, text: str, *evidence: str) -> Principle:
    event = Event(kind="proposed", round=1, by="proposer")
    return Principle(id=id, text=text, round=1, evidence=evidence, history=(event,))


def adopted(id: str, text: str, *evidence: str) -> Principle:
    return Principle(id=id, text=text, round=0, evidence=evidence, status="adopted")


class Compares(FakeOracle):
    """Says for each pair what `relations` has under its ids, or `different`."""

    def __init__(self, **relations: Relation) -> None:
        super().__init__()
        self.relations = relations
        self.asked: list[tuple[str, str]] = []

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        self.asked += [(one.id, other.id) for one, other in pairs]
        return [self.relations.get(f"{one.id}_{other.id}", "different") for one, other in pairs]


KNOWN = adopted("old", "Decline to help with stealing cars.", "p1")


def test_nearly_the_same_words_are_merged_without_asking() -> None:
    oracle = Compares()
    (double,) = compare(oracle, [proposed("new", "Decline to help with stealing a cars", "p2")], [KNOWN], DOUBLES)
    assert double.status == "merged" and oracle.asked == []
    assert double.history[-1].by == "similarity" and double.history[-1].other == "old"
    (kept, _) = extend([KNOWN], adopt([double], 1))
    assert kept.evidence == ("p1", "p2") and kept.history[-1].kind == "evidence"


def test_the_oracle_decides_where_it_is_close() -> None:
    oracle = Compares(same_old="same", against_old="contradicting")
    close = [
        proposed("same", "Decline to help when it is about stealing cars.", "p2"),
        proposed("against", "Help gladly with stealing cars.", "p3"),
        proposed("far", "Zebras, xylophones!"),
    ]
    same, against, far = compare(oracle, close, [KNOWN], DOUBLES)
    assert ("same", "old") in oracle.asked and not any("far" in pair for pair in oracle.asked)
    assert (same.status, same.history[-1].by) == ("merged", "oracle")
    assert (against.status, against.history[-1].other) == ("contradicting", "old")
    assert far.status == "proposed"
    assert in_force(extend([KNOWN], adopt([same, against, far], 1)))[-1].id == "far"


def test_of_two_new_ones_that_contradict_each_other_the_later_waits_and_both_say_so() -> None:
    oracle = Compares(b_a="contradicting")
    first, second = compare(
        oracle, [proposed("a", "Name the law that applies."), proposed("b", "Never name the law.")], [], DOUBLES
    )
    assert (first.status, second.status) == ("proposed", "contradicting")
    assert first.history[-1].kind == second.history[-1].kind == "contradicting"
    assert first.history[-1].other == "b"


def test_a_double_of_a_double_ends_where_the_first_went() -> None:
    oracle = Compares(a_old="same", b_a="same")
    some = [
        proposed("a", "Decline to help if it is for stealing a car.", "p2"),
        proposed("b", "Decline to help if it is for stealing cars.", "p3"),
    ]
    first, second = compare(
        oracle, some, [KNOWN], Doubles(ConstitutionSettings(same=0.999, close=0.1, neighbours=1), by_words)
    )
    assert first.history[-1].other == "old"
    assert second.history[-1].other == "old" or second.status == "proposed"
    ledger = extend([KNOWN], adopt([first, second], 1))
    assert set(ledger[0].evidence) >= {"p1", "p2"}


def test_an_undetermined_comparison_is_noted_and_does_not_merge() -> None:
    oracle = Compares(new_old="undetermined")
    (new,) = compare(
        oracle,
        [proposed("new", "Help to find stolen cars.")],
        [KNOWN],
        Doubles(ConstitutionSettings(close=0.1), by_words),
    )
    assert new.status == "proposed" and new.history[-1].kind == "compared"


def test_without_an_oracle_that_can_relate_similarity_alone_decides() -> None:
    oracle = FakeOracle()
    (new,) = compare(oracle, [proposed("new", "Decline to help when it is about stealing cars.")], [KNOWN], DOUBLES)
    assert new.status == "proposed"


def test_neighbours_are_bounded_and_the_nearest() -> None:
    oracle = Compares()
    known = [adopted(f"k{n}", f"Decline to help with stealing {'very ' * n}big cars.") for n in range(6)]
    compare(
        oracle,
        [proposed("new", "Decline to help with stealing some big cars.")],
        known,
        Doubles(ConstitutionSettings(neighbours=2), by_words),
    )
    assert len(oracle.asked) == 2 and ("new", "k0") in oracle.asked


def test_rejected_and_merged_ones_are_left_alone() -> None:
    bad = proposed("bad", KNOWN.text).model_copy(update={"status": "rejected"})
    assert compare(Compares(), [bad], [KNOWN], DOUBLES) == [bad]


def test_twenty_times_the_same_becomes_one_with_all_the_evidence() -> None:
    many = [proposed(f"n{number}", "Be kind to animals.", f"p{number}") for number in range(20)]
    ledger = extend([], adopt(compare(FakeOracle(), many, [], DOUBLES), 1))
    (one,) = in_force(ledger)
    assert len(one.evidence) == 20 and sum(p.status == "merged" for p in ledger) == 19
