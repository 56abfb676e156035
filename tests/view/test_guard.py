"""Whom the server answers: no other name (DNS rebinding), no page of another that writes, nobody else beyond loopback."""

from pathlib import Path

import pytest
from report.conftest import finished  # noqa: F401  # a fixture

from iteralign.rundir.desk import desk_of, state_of
from iteralign.rundir.reader import read_run
from view.conftest import TOKEN, Start


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", ""])
def test_another_name_is_refused(served: Start, finished: Path, host: str) -> None:  # noqa: F811
    client = served(finished)
    reply = client.ask("/lines", headers={"Host": host.format(port=client.port)})
    assert reply.status == 403 and "not called" in reply.text
    assert client.ask("/lines", headers={"Host": f"localhost:{client.port}"}).status == 200


def test_the_policy_stands_on_every_reply(served: Start, finished: Path) -> None:  # noqa: F811
    client = served(finished)
    replies = [client.ask(path, key=".", name="now") for path in ("/", "/part", "/nothing", "/static/page.css")]
    replies.append(client.ask("/", headers={"Host": "evil.example"}))
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert (
            reply.headers["referrer-policy"] == "no-referrer" and reply.headers["x-content-type-options"] == "nosniff"
        )
    assert [reply.status for reply in replies] == [200, 200, 404, 200, 403]


def test_pages_without_the_token_do_not_tell_it(served: Start, finished: Path) -> None:  # noqa: F811
    client = served(finished)
    for path in ("/", "/lines", "/run", "/review"):
        assert TOKEN not in client.ask(path, key=".").text
        assert TOKEN not in client.ask(path, key=".", token="guessed").text
        assert TOKEN in client.ask(path, key=".", token=TOKEN).text


def test_beyond_loopback_everything_needs_the_token(served: Start, finished: Path) -> None:  # noqa: F811
    client = served(finished, host="0.0.0.0")
    for path in ("/", "/lines", "/run", "/part", "/answers", "/events", "/review", "/favicon.ico"):
        assert client.ask(path, key=".", name="now").status == 403
    assert client.ask("/part", key=".", name="now", token=TOKEN).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"X-Token": "guessed"},
        {"X-Token": ""},
        {"Content-Type": "text/plain"},
        {"Content-Length": "99999999"},
    ],
    ids=["other", "null", "none", "guessed", "no token", "form", "long"],
)
def test_nobody_else_decides(served: Start, waiting: Path, headers: dict[str, str]) -> None:
    client = served(waiting)
    desk = desk_of(read_run(waiting))
    entry = desk.read().principles[0]
    sent = {"entry": {**entry.model_dump(), "decision": "reject"}, "seen": state_of(entry)}
    before = desk.path.read_bytes()
    assert client.ask("/review", "POST", sent, headers, key=".").status == 403
    assert desk.path.read_bytes() == before
    assert client.ask("/review", "POST", sent, key=".").status == 200
