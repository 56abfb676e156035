"""A review by a page: the same file as the terminal's, several at once, and the run goes on with what was decided."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from report.conftest import fake_parts, finished  # noqa: F401  # a fixture

from iteralign.errors import ConfigError
from iteralign.rundir.desk import DecidedMeanwhile, Desk, desk_of, state_of
from iteralign.rundir.reader import read_run
from iteralign.runs.run import resume_run
from iteralign.view.reviewing import cards
from view.conftest import Client, Reply, Start


def desk(run: Path) -> Desk:
    return desk_of(read_run(run))


def decided(client: Client, run: Path, of: str, key: str = ".", seen: str | None = None, **changes: Any) -> Reply:
    entry = next(one for one in desk(run).read().principles if one.id == of)
    sent = {"entry": {**entry.model_dump(), **changes}, "seen": seen or state_of(entry)}
    return client.ask("/review", "POST", sent, key=key)


def test_a_page_decides_and_the_run_goes_on(served: Start, waiting: Path) -> None:
    client = served(waiting)
    assert "A person has to decide" in client.ask("/part", key=".", name="now").text
    first, *others = desk(waiting).asked
    page = client.ask("/review", key=".").text
    assert f'data-id="{first}"' in page and "Failures behind it" in page
    reply = decided(client, waiting, first, decision="edit", text="Decline what hurts.", reason="shorter", by="Ada")
    assert reply.status == 200 and reply.json()["left"] == others
    for id in others:
        assert decided(client, waiting, id, decision="reject", by="Ben").status == 200
    entries = yaml.safe_load(desk(waiting).path.read_text())["principles"]
    assert [entry["decision"] for entry in entries] == ["edit", *["reject"] * len(others)]
    outcome = None
    while outcome is None:  # an edited principle that fails its trial comes back, and each round waits
        try:
            outcome = resume_run(waiting, parts=fake_parts(waiting))
        except Exception as error:
            if type(error).__name__ != "ReviewNeeded":
                raise
            for id in desk(waiting).asked:
                assert decided(client, waiting, id, decision="accept", by="Ben").status == 200
    ledger = {one.id: one for one in read_run(waiting).constitution()[0]}
    assert any(event.kind == "edited" and event.by == "Ada" for event in ledger[first].history)
    assert client.ask("/review", key=".").status == 200, "a finished run's constitution"


def test_whoever_comes_second_is_told(served: Start, waiting: Path) -> None:
    client = served(waiting)
    first = desk(waiting).asked[0]
    seen = state_of(desk(waiting).read().principles[0])
    assert decided(client, waiting, first, decision="reject", by="Ada").status == 200
    late = decided(client, waiting, first, seen=seen, decision="accept", by="Ben")
    assert late.status == 409 and "Ada has decided meanwhile: reject" in late.text
    changed = decided(client, waiting, first, decision="accept", by="Ben")
    assert changed.status == 200 and cards(desk(waiting))[0].by == "Ben", "whoever has seen it may change it"


def test_many_at_once_decide_once(served: Start, waiting: Path) -> None:
    client = served(waiting)
    first = desk(waiting).asked[0]
    seen = state_of(desk(waiting).read().principles[0])
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(
                lambda n: decided(client, waiting, first, seen=seen, decision="reject", by=f"reviewer {n}"), range(16)
            )
        )
    assert sorted(reply.status for reply in replies) == [200, *[409] * 15]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decision": "merge", "into": "nobody"}, "principle that stays"),
        ({"decision": "accept", "text": "another"}, "decision must be edit"),
        ({"decision": "perhaps"}, "No decision"),
        ({"id": "nobody", "decision": "accept"}, "no principle that waits"),
    ],
)
def test_what_can_not_be_carried_out_changes_nothing(
    served: Start, waiting: Path, changes: dict[str, str], said: str
) -> None:
    before = desk(waiting).path.read_bytes()
    reply = decided(served(waiting), waiting, desk(waiting).asked[0], **changes)
    assert reply.status == 422 and said in reply.text and desk(waiting).path.read_bytes() == before


def test_a_finished_constitution_is_reviewed_too(served: Start, finished: Path, tmp_path: Path) -> None:  # noqa: F811
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    client = served(run)
    assert not desk(run).path.exists()
    replies = [decided(client, run, id, decision="accept") for id in desk(run).asked]
    assert [reply.status for reply in replies] == [200] * len(replies)
    assert Path(replies[-1].json()["written"]).exists()
    with pytest.raises(DecidedMeanwhile):
        desk(run).decide(desk(run).read().principles[0], "something else")
    with pytest.raises(ConfigError):
        desk(run).decide(desk(run).read().principles[0].model_copy(update={"id": "x"}), "")
