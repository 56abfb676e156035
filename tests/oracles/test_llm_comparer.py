"""A model that compares two answers: what it is shown, and that only a readable reply is a preference."""

from collections.abc import Callable

import pytest

from iteralign.errors import OracleError
from iteralign.oracles.client import ChatClient
from iteralign.oracles.pairwise import LLMComparer

from . import conftest as play


def reply(better: str) -> str:
    return f'{{"reason": "so", "better": "{better}"}}'


@pytest.mark.parametrize("better", ["first", "second", "tie"])
def test_a_readable_reply(better: str, server: play.Server, make_client: Callable[..., ChatClient]) -> None:
    server.usual = play.text(reply(better))
    pair = (play.response("How {first}?", "One {second}."), play.response("How {first}?", "Two."))
    assert LLMComparer(make_client()).compare([pair]) == [better]
    shown = server.requests[0]["messages"][0]["content"]
    assert shown.index("How {first}?") < shown.index("One {second}.") < shown.index("Two.")


@pytest.mark.parametrize(
    "broken",
    [
        play.text("first"),
        play.text('{"better": "first"}'),
        play.text(reply("both")),
        play.text(reply("first"), finish="length"),
        play.text(None, finish="content_filter"),
        play.met(play.status(400, "no")),
    ],
)
def test_anything_else_is_undetermined(
    broken: play.Play, server: play.Server, make_client: Callable[..., ChatClient]
) -> None:
    server.usual = broken
    pair = (play.response("How?", "One."), play.response("How?", "Two."))
    assert LLMComparer(make_client(max_retries=0)).compare([pair]) == ["undetermined"]


def test_a_server_that_is_down_is_an_error(server: play.Server, make_client: Callable[..., ChatClient]) -> None:
    server.script, server.usual = [play.text(reply("tie"))], play.met(play.status(503))
    comparer = LLMComparer(make_client(max_retries=1))
    pair = (play.response("How?", "One."), play.response("How?", "Two."))
    assert comparer.compare([pair]) == ["tie"]
    with pytest.raises(OracleError, match="stopped answering"):
        comparer.compare([(pair[1], pair[0])])
