"""Scores of texts against what transformers itself says of a single one."""

import math
from pathlib import Path

import pytest

from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel

INPUTS = [f"\n\nHuman: {'why ' * (n % 4)}number {n}?\n\nAssistant:" for n in range(9)]
ANSWERS = [" " + "word " * (n % 5 + 1) + f"and {n}." for n in range(9)]


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> LocalModel:
    return LocalModel(str(request.getfixturevalue(request.param)), root=tmp_path, device="cpu")


def test_a_score_is_minus_the_models_own_loss_on_the_answer(model: LocalModel) -> None:
    import torch

    target = TransformersTarget(model)
    network = model.at(model.base)
    for text, answer, score in zip(INPUTS, ANSWERS, target.score(INPUTS, ANSWERS), strict=True):
        prompt, ids = encode(model.tokenizer, text), encode(model.tokenizer, text + answer)
        labels = [-100] * len(prompt) + ids[len(prompt) :]
        with torch.no_grad():
            loss = network(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        assert score == pytest.approx(-float(loss), abs=1e-4)


def test_a_score_does_not_depend_on_its_batch(model: LocalModel) -> None:
    target = TransformersTarget(model)
    alone = [target.score([text], [answer])[0] for text, answer in zip(INPUTS, ANSWERS, strict=True)]
    assert target.score(INPUTS, ANSWERS) == pytest.approx(alone, abs=1e-4)


def test_no_scores_are_computed_for_what_stands_before_every_answer(model: LocalModel) -> None:
    seen: list[int] = []
    output = model.network(model.base).get_output_embeddings()
    output.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    TransformersTarget(model).score([INPUTS[1]] * 2, [" word", " word word"])
    prompt, longest = (len(encode(model.tokenizer, INPUTS[1] + answer)) for answer in ("", " word word"))
    assert seen == [longest - prompt + 1]


def test_no_token_no_score_and_a_long_text_is_cut(model: LocalModel) -> None:
    target = TransformersTarget(model)
    long = "word " * 400
    nothing, cut = target.score([INPUTS[0], INPUTS[0]], ["", long])
    assert math.isnan(nothing) and math.isfinite(cut)
    assert math.isfinite(target.score([""], ["A text without an input."])[0])
