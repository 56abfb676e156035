"""Cards of a run: true, readable by the hub, and without places of this machine."""

from pathlib import Path

import pytest
import yaml

from iteralign.errors import RunDirectoryError
from iteralign.report.cards import dataset_card, model_card, write_cards


def front_matter(text: str) -> dict[str, object]:
    _, head, _ = text.split("---\n", 2)
    return dict(yaml.safe_load(head))


def test_the_model_card_has_numbers_with_intervals_and_limits(finished: Path) -> None:
    text = model_card(finished, "me/aligned")
    assert front_matter(text)["library_name"] == "transformers"
    assert "| Unacceptable answers | 100% [" in text and "large improvement, significant" in text
    assert 'from_pretrained("me/aligned")' in text and "| judge | fake |" in text
    assert "Do not help with" in text and "is not thereby safe" in text
    assert "{{" not in text and "{%" not in text


def test_a_base_model_of_the_hub_is_linked(finished: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("path: demo", "path: HuggingFaceTB/SmolLM-135M", 1))
    assert front_matter(model_card(run, "me/aligned"))["base_model"] == "HuggingFaceTB/SmolLM-135M"


def test_the_data_set_card_names_files_that_load(finished: Path) -> None:
    text = dataset_card(finished, "me/pairs")
    configs = front_matter(text)["configs"]
    assert {"config_name": "dpo", "data_files": "dpo.jsonl"} in configs  # type: ignore[operator]
    assert "may be offensive" in text and "| `dpo.jsonl` |" in text


def test_no_place_of_this_machine_is_told(finished: Path, tmp_path: Path) -> None:
    for card in (model_card, dataset_card):
        assert str(finished.parent) not in card(finished, "me/x") and "bad.jsonl" in card(finished, "me/x")


def test_hostile_principles_are_no_markup(hostile: Path) -> None:
    text = model_card(hostile, "me/aligned")
    assert "<script>" not in text and "<img" not in text and "<!--" not in text


def test_only_a_finished_run_gets_cards(finished: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert [path.name for path in write_cards(run, tmp_path / "cards")] == ["model_card.md", "dataset_card.md"]
    (run / "metrics.jsonl").unlink()
    with pytest.raises(RunDirectoryError, match="not finished"):
        write_cards(run, tmp_path / "cards")
