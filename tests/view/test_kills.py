"""A small one of the campaign in kills.py, with real processes."""

import pytest

from view.kills import campaign


@pytest.mark.slow
def test_a_killed_server_loses_no_decision(capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(4, seed=1) == []
    assert "4 kills" in capsys.readouterr().out
