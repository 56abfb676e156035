"""GGUF files that others made, where the environment variable ITERALIGN_REAL names a directory with them."""

import os
from pathlib import Path
from typing import Any

import pytest

from iteralign.records import Sampling, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.targets.transformers import TransformersTarget
from iteralign.trainers.sft import SFT
from iteralign.weights.model import LocalModel

REAL = os.environ.get("ITERALIGN_REAL")
QUESTION = "What is the capital of France? Answer in one sentence."

pytestmark = [
    pytest.mark.skipif(REAL is None, reason="ITERALIGN_REAL names no directory with real models"),
    pytest.mark.timeout(900),
    pytest.mark.slow,
]


def real(name: str, root: Path) -> LocalModel:
    path = Path(REAL or "") / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return LocalModel(str(path), root=root, device="cpu", dtype="float32")


def prompt(model: LocalModel) -> str:
    if model.render_chat is None:
        return f"Question: {QUESTION}\nAnswer:"
    return model.render_chat([{"role": "user", "content": QUESTION}])


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("smollm2-135m-instruct.gguf", [19556, 905]),
        ("gemma-3-270m.gguf", [2, 9259, 1902]),
    ],
)
def test_it_answers_trains_and_is_exported(name: str, ids: list[int], tmp_path: Path) -> None:
    import transformers

    model = real(name, tmp_path)
    assert model.tokenizer("Hello world")["input_ids"] == ids
    sampling = Sampling(temperature=0, max_new_tokens=12)
    (answer,) = TransformersTarget(model).generate([prompt(model)], sampling)
    assert "Paris" in answer.text
    rows = [TrainingExample(prompt=prompt(model), completion=" Bonn.", kind="revision", prompt_id="0", round=0)] * 4
    checkpoint = SFT(model, TrainingSettings(epochs=8, learning_rate=3e-3), 0).finetune(
        model.base, rows, tmp_path / "round", 0
    )
    model.export(checkpoint, tmp_path / "model")
    model.release()
    again = LocalModel(str(tmp_path / "model"), root=tmp_path, device="cpu", dtype="float32")
    (learnt,) = TransformersTarget(again).generate([prompt(again)], sampling)
    assert "Bonn" in learnt.text
    fast: Any = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert fast("Hello world")["input_ids"] == ids
