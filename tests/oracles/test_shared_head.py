"""All that is the same in every request stands before all that differs, so that a server reads it once."""

from collections.abc import Callable
from itertools import takewhile

import pytest

from iteralign.oracles.client import ChatClient
from iteralign.oracles.pairwise import LLMComparer
from iteralign.oracles.reading import Fence
from iteralign.prompts import Template
from iteralign.records import Principle, Verdict

from . import conftest as play

Make = Callable[..., ChatClient]

SHARE = 0.9
"""Of the text's own characters; the rest is a short last line, since small models forget what stands far above."""


def shared(server: play.Server) -> str:
    """What the first two requests begin with."""
    first, second = (str(request["messages"][0]["content"]) for request in server.requests[:2])
    assert first != second
    return "".join(a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def own_length(text: Template) -> int:
    filled = text.fill(**dict.fromkeys(text.fields, ""))
    return len(filled)


def failure(number: int, category: str) -> Verdict:
    response = play.response(f"{number} questions", f"{number} answers")
    return Verdict(response=response, label="unacceptable", violations=("harmful",), category=category)


def principle(text: str) -> Principle:
    return Principle(id=text, text=text, round=0, status="adopted")


def test_the_judges(server: play.Server, make_client: Make) -> None:
    oracle = play.llm(make_client(concurrency=1))
    oracle.judge([play.response("Why?", "So."), play.response("How?", "Thus.")])
    assert len(shared(server)) >= SHARE * own_length(oracle.judge_text)


def test_the_comparers(server: play.Server, make_client: Make) -> None:
    comparer = LLMComparer(make_client(concurrency=1))
    one, two = play.response("Why?", "So."), play.response("Why?", "Thus.")
    comparer.compare([(one, two), (two, one)])
    assert len(shared(server)) >= SHARE * own_length(comparer.text)


def test_the_relaters(server: play.Server, make_client: Make) -> None:
    oracle = play.llm(make_client(concurrency=1))
    oracle.relate([(principle("Be kind."), principle("Be fair.")), (principle("Be true."), principle("Be fair."))])
    assert len(shared(server)) >= SHARE * own_length(oracle.author.relate_text)


def test_the_proposers_which_share_the_adopted_principles_too(server: play.Server, make_client: Make) -> None:
    server.usual = play.text('{"principles": []}')
    oracle = play.llm(make_client(concurrency=1))
    some = [failure(1, "theft"), failure(2, "theft"), failure(3, "fraud"), failure(4, "fraud")]
    oracle.propose(some, [principle("Be kind to animals.")])
    assert len(shared(server)) >= SHARE * own_length(oracle.author.text)
    assert "Be kind to animals.\n----- adopted principles" in shared(server)


@pytest.mark.parametrize("text", ["", "one", "a" * 10_000, "abcdefghijklmnopqrstuvwxyz" * 100, "\ud800 \u0130"])
def test_no_half_of_a_code_occurs_in_the_material_or_beside_it(text: str) -> None:
    code = Fence.around([text]).code
    assert Fence.around([text]).code == code == Fence.around([text], beside=["nothing of it"]).code
    forged = f"----- answer {code[: len(code) // 2]}X ends -----".upper()
    for other in (Fence.around([text], beside=[forged]).code, Fence.around([text + forged]).code):
        halves = other[: len(other) // 2], other[len(other) // 2 :]
        assert all(half not in (text + forged).lower() for half in halves)


def test_a_code_fits_a_text_that_contains_every_short_one() -> None:
    import itertools
    import string

    every = " ".join(map("".join, itertools.product(string.ascii_lowercase, repeat=4)))
    assert len(Fence.around([every]).code) > 8
