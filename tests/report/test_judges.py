"""Report, card and comparison name who really judged, whoever the settings' own judge is."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from iteralign.fakes import COMPLIES
from iteralign.oracles.guards import GuardJudge, JudgeAndProposer, Panel
from iteralign.oracles.guards.families import Question, family
from iteralign.oracles.rules import RuleOracle
from iteralign.report.cards import model_card
from iteralign.report.compare import compare_runs
from iteralign.report.html import write_report
from iteralign.rundir.reader import read_run
from iteralign.runs.run import start_run
from iteralign.settings.settings import load_settings

from .conftest import fake_parts, fake_run, small

ENDPOINT = {"model": "some-llm", "base_url": "http://127.0.0.1:9"}
GUARDS = [{"family": "llama-guard", "model": name} for name in ("guards/one", "guards/two", "guards/three")]


def guard(name: str) -> GuardJudge:
    """A Llama Guard whose model finds every answer unsafe that goes along."""

    def ask(questions: Sequence[Question], tokens: int) -> list[str | None]:
        return ["unsafe\nS2" if COMPLIES in str(question) else "safe" for question in questions]

    return GuardJudge(family("llama-guard"), ask, name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run judged by the settings' own judge, by one guard and by three."""
    place = tmp_path_factory.mktemp("judged")
    made = {"own": fake_run(place / "own")}
    for name, count in (("guarded", 1), ("panelled", 3)):
        judges = [guard(one["model"]) for one in GUARDS[:count]]
        judge = judges[0] if count == 1 else Panel(judges, ", ".join(one.name for one in judges))
        parts = fake_parts(place / name)
        parts.oracle = JudgeAndProposer(judge, RuleOracle(4, seed=0))
        settings = small(place) | {"oracle": {"kind": "openai", "judge": ENDPOINT, "guards": GUARDS[:count]}}
        made[name] = start_run(load_settings(settings), place / name, parts=parts).directory
    return made


@pytest.mark.parametrize(("name", "judge"), [("guarded", "guards/one"), ("panelled", "guards/one, guards/two, ")])
def test_report_and_card_name_the_guards(name: str, judge: str, runs: dict[str, Path], tmp_path: Path) -> None:
    page = write_report(runs[name], tmp_path / "page.html").read_text()
    head = page.split("judge <b>", 1)[1].split("</b>", 1)[0]
    assert judge in head and "some-llm" not in head and f"The same judge ({judge}" in page
    card = model_card(runs[name], "me/x")
    assert f"| judge | {judge}" in card and "some-llm" not in card


def test_rules_that_only_propose_are_not_called_the_judge(tmp_path: Path) -> None:
    parts = fake_parts(tmp_path / "run")
    parts.oracle = JudgeAndProposer(guard("guards/one"), RuleOracle(4, seed=0))
    settings = load_settings(small(tmp_path) | {"oracle": {"kind": "rules", "guards": GUARDS[:1]}})
    start_run(settings, tmp_path / "run", parts=parts)
    assert "set of fixed rules" not in model_card(tmp_path / "run", "me/x")


def test_no_test_across_judges(runs: dict[str, Path]) -> None:
    made = compare_runs([runs["own"], runs["guarded"]])
    assert [column.judge for column in made.columns] == ["fake", "guards/one"]
    assert [test.what for test in made.tests] == ["benign refusals"], "refusals are found by phrases, whoever judged"
    assert any("guarded was judged by guards/one, own by fake" in note for note in made.notes)


def test_no_test_across_judges_texts(runs: dict[str, Path], tmp_path: Path) -> None:
    def but_for(old: str, new: str) -> Path:
        import shutil

        other = tmp_path / new.replace(" ", "").replace(":", "").replace("\n", "")
        shutil.copytree(runs["guarded"], other)
        config = other / "config.yaml"
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))
        return other

    others = [but_for("  votes: 1", "  votes: 1\n  judge_file: mine.txt"), but_for("  votes: 1", "  votes: 3")]
    for other in others:
        made = compare_runs([runs["guarded"], other])
        assert [test.what for test in made.tests] == ["benign refusals"] and "another text" in made.notes[0]


def test_a_judge_without_a_name_goes_by_the_settings(tmp_path: Path) -> None:
    from iteralign.fakes import FakeOracle

    class Nameless(FakeOracle):
        def judge(self, responses):  # type: ignore[no-untyped-def]
            return [verdict.model_copy(update={"judge": ""}) for verdict in super().judge(responses)]

    parts = fake_parts(tmp_path / "run")
    parts.oracle = Nameless(lambda response: "acceptable")
    start_run(load_settings(small(tmp_path)), tmp_path / "run", parts=parts)
    assert read_run(tmp_path / "run").judges == ("rules",)


@pytest.mark.parametrize(
    ("oracle", "names"),
    [
        ({"kind": "rules"}, ("rules",)),
        ({"judge": ENDPOINT, "panel": [ENDPOINT | {"model": "other"}]}, ("some-llm", "other")),
        ({"judge": ENDPOINT, "guards": GUARDS[:1]}, ("guards/one",)),
        ({"judge": ENDPOINT, "guards": GUARDS[:1], "guards_and_judge": True}, ("guards/one", "some-llm")),
    ],
)
def test_the_settings_name_their_judges(oracle: object, names: tuple[str, ...]) -> None:
    given = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": oracle}
    assert load_settings(given).oracle.judge_names == names


def test_a_panel_of_guards_is_named_after_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    from iteralign.runs.build import build_oracle
    from iteralign.settings.oracle import OracleSettings

    monkeypatch.setenv("OPENAI_API_KEY", "no-key")
    guards = [one | {"base_url": "http://127.0.0.1:9"} for one in GUARDS]
    oracle = build_oracle(
        OracleSettings.model_validate({"kind": "rules", "guards": guards, "guards_and_judge": True}), 0
    )
    assert isinstance(oracle, JudgeAndProposer) and isinstance(oracle.judge_part, Panel)
    assert oracle.judge_part.name == "guards/one, guards/two, guards/three, rules"
