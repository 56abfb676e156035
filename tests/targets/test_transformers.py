"""TransformersTarget: what it generates, and that a batch does not change it."""

import re
from pathlib import Path
from typing import Any

import pytest

from iteralign.activity import Work, told_to
from iteralign.errors import TargetError
from iteralign.records import Generation, Sampling
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel

INPUTS = [f"\n\nHuman: {'why ' * (n % 5)}number {n}?\n\nAssistant:" for n in range(11)]
GREEDY = Sampling(max_new_tokens=12)
SAMPLED = Sampling(max_new_tokens=12, temperature=1.0, top_p=0.95, seed=3)


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> LocalModel:
    return LocalModel(str(request.getfixturevalue(request.param)), root=tmp_path, device="cpu")


@pytest.fixture
def llama(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, SAMPLED.model_copy(update={"frequency_penalty": 0.7})])
def test_an_answer_does_not_depend_on_its_batch(model: LocalModel, sampling: Sampling) -> None:
    together = TransformersTarget(model).generate(INPUTS, sampling)
    alone = TransformersTarget(model, batch_size=1).generate(INPUTS, sampling)
    mixed = TransformersTarget(model, batch_size=4).generate(INPUTS[::-1], sampling)[::-1]
    assert together == alone == mixed


def test_greedy_takes_the_most_probable_token_each_time(model: LocalModel) -> None:
    """The model's own generation_config asks for sampling at temperature 5 and a repetition penalty: not in here."""
    import torch

    network = model.at(model.base)
    ids = encode(model.tokenizer, INPUTS[0])
    start = len(ids)
    for _ in range(GREEDY.max_new_tokens):
        with torch.no_grad():
            ids.append(int(network(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == model.tokenizer.eos_token_id:
            break
    [generation] = TransformersTarget(model).generate(INPUTS[:1], GREEDY)
    assert generation.text == model.tokenizer.decode(ids[start:], skip_special_tokens=True)
    assert generation.tokens == len(ids) - start
    assert generation.prompt_tokens == start


def test_scores_are_of_states_for_which_no_weight_is_copied(llama: LocalModel) -> None:
    seen: list[tuple[int, ...]] = []
    network = llama.network(llama.base)

    def look(_: Any, inputs: tuple[Any, ...]) -> None:
        assert inputs[0].is_contiguous()
        seen.append(tuple(inputs[0].shape[:2]))

    network.get_output_embeddings().register_forward_pre_hook(look)
    TransformersTarget(llama).generate(["one two three", "three two one"], Sampling(max_new_tokens=2))
    assert seen == [(2, 1), (2, 1)]


def test_the_models_own_generation_config_is_left_as_it_was(llama: LocalModel) -> None:
    before = llama.at(llama.base).generation_config.to_dict()
    TransformersTarget(llama).generate(INPUTS[:2], GREEDY)
    assert llama.at(llama.base).generation_config.to_dict() == before
    assert before["temperature"] == 5.0


def test_seeds(llama: LocalModel) -> None:
    target = TransformersTarget(llama)
    first = target.generate(INPUTS, SAMPLED)
    assert target.generate(INPUTS, SAMPLED) == first
    assert target.generate(INPUTS, SAMPLED.model_copy(update={"seed": 4})) != first
    assert len({generation.text for generation in first}) > 1


def test_sampling_follows_the_models_distribution(llama: LocalModel) -> None:
    """First tokens of 3000 draws against the softmax, by the total variation distance."""
    import torch

    from iteralign.targets.transformers import RowNoise

    scores = torch.tensor([[2.0, 1.0, 0.0, float("-inf")]]).repeat(3000, 1)
    drawn = RowNoise([str(n) for n in range(3000)], seed=0)(None, scores).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / 3000
    assert (shares - scores[0].softmax(-1)).abs().sum() / 2 < 0.03
    assert shares[3] == 0


def test_frequency_penalty_counts_the_answer_alone() -> None:
    import torch

    from iteralign.targets.transformers import FrequencyPenalty

    penalised = FrequencyPenalty(0.5, prompt_width=2)(torch.tensor([[1, 1, 2, 2, 0]]), torch.zeros(1, 4))
    assert penalised.tolist() == [[-0.5, 0.0, -1.0, 0.0]]


def test_frequency_penalty_prevents_repetition(llama: LocalModel) -> None:
    target = TransformersTarget(llama)
    sampling = Sampling(max_new_tokens=20, frequency_penalty=100.0)
    for generation in target.generate(INPUTS, sampling):
        ids = llama.tokenizer(generation.text, add_special_tokens=False)["input_ids"]
        assert len(set(ids)) == len(ids) or "\ufffd" in generation.text
    assert target.generate(INPUTS, sampling) != target.generate(INPUTS, Sampling(max_new_tokens=20))


def test_min_p_leaves_out_what_is_far_less_likely_than_the_likeliest(llama: LocalModel) -> None:
    """At 1 only the likeliest token is left, at whatever temperature; at 0 the draws are free."""
    target = TransformersTarget(llama)
    hot = Sampling(max_new_tokens=12, temperature=3.0, seed=3)
    greedy = target.generate(INPUTS, Sampling(max_new_tokens=12))
    assert target.generate(INPUTS, hot.model_copy(update={"min_p": 1.0})) == greedy
    assert target.generate(INPUTS, hot.model_copy(update={"min_p": 0.0})) != greedy


def test_stop_texts(llama: LocalModel) -> None:
    target = TransformersTarget(llama)
    plain = target.generate(INPUTS, SAMPLED)
    found = (re.search(r"(?<=.)[ -~]{2}(?=.)", generation.text, re.DOTALL) for generation in plain)
    index, stop = next((n, match[0]) for n, match in enumerate(found) if match)
    stopped = target.generate(INPUTS, SAMPLED.model_copy(update={"stop": ("never to be seen", stop)}))
    assert stopped[index].finish == "stop"
    assert 0 < stopped[index].tokens < plain[index].tokens
    for before, after in zip(plain, stopped, strict=True):
        assert after.text == before.text.split(stop)[0]
        assert stop in before.text or after == before


def test_a_stop_text_in_the_prompt_does_not_stop(llama: LocalModel) -> None:
    target = TransformersTarget(llama)
    stop = GREEDY.model_copy(update={"stop": ("\n\nAssistant:",)})
    assert target.generate(INPUTS[:1], stop) == target.generate(INPUTS[:1], GREEDY)


def test_every_end_token_of_the_model_ends_an_answer(llama: LocalModel) -> None:
    """Its generation_config may name several."""
    import torch

    target = TransformersTarget(llama)
    [plain] = target.generate(INPUTS[:1], GREEDY)
    network = llama.at(llama.base)
    [first] = network.generate(
        input_ids=torch.tensor([encode(llama.tokenizer, INPUTS[0])]),
        do_sample=False,
        repetition_penalty=1.0,
        max_new_tokens=1,
    )
    llama.generation_config.eos_token_id = [0, int(first[-1])]
    [ended] = target.generate(INPUTS[:1], GREEDY)
    assert plain.finish == "length"
    assert (ended.finish, ended.tokens) == ("stop", 1)


def test_a_prompt_that_does_not_fit_is_never_cut(model: LocalModel) -> None:
    long = "word " * 200
    exact = model.tokenizer.decode([5] * (128 - GREEDY.max_new_tokens))
    assert len(encode(model.tokenizer, exact)) <= 128 - GREEDY.max_new_tokens
    short, too_long, fits = TransformersTarget(model).generate([INPUTS[0], long, exact], GREEDY)
    assert (too_long.text, too_long.finish, too_long.tokens) == ("", "prompt_too_long", 0)
    assert too_long.prompt_tokens > 128
    assert short.finish != "prompt_too_long" and fits.finish != "prompt_too_long"


def test_it_tells_how_far_it_is_also_within_a_batch(model: LocalModel) -> None:
    told: list[Work] = []
    with told_to(told.append):
        TransformersTarget(model, batch_size=2).generate(INPUTS[:3], GREEDY)
    assert told[0] == Work("answering", 0, 3) and told[-1] == Work("answering", 3, 3)
    done = [work.done for work in told]
    assert done == sorted(done) and len(set(done)) > 6, "a row counts by the share of its tokens"
    assert {work.total for work in told} == {3}


def test_out_of_memory_halves_the_batch_and_is_remembered(llama: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    target = TransformersTarget(llama, batch_size=8)
    wanted = target.generate(INPUTS, SAMPLED)
    rows: list[int] = []
    whole = TransformersTarget._batch

    def scarce(self: Any, network: Any, inputs: Any, prompts: Any, *rest: Any) -> Any:
        rows.append(len(prompts))
        if len(prompts) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, network, inputs, prompts, *rest)

    monkeypatch.setattr(TransformersTarget, "_batch", scarce)
    assert target.generate(INPUTS, SAMPLED) == wanted
    assert rows[:3] == [8, 4, 2]
    rows.clear()
    target.generate(INPUTS, SAMPLED)
    assert rows[0] == 2


def test_out_of_memory_with_a_single_prompt_says_so(llama: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise RuntimeError("MPS backend out of memory")

    monkeypatch.setattr(TransformersTarget, "_batch", never)
    with pytest.raises(TargetError, match="single prompt"):
        TransformersTarget(llama).generate(INPUTS, GREEDY)


def test_other_errors_are_not_taken_for_out_of_memory(llama: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TransformersTarget, "_batch", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        TransformersTarget(llama).generate(INPUTS, GREEDY)


def test_no_inputs(llama: LocalModel) -> None:
    assert TransformersTarget(llama).generate([], GREEDY) == []


def test_a_stream_tells_of_answers_batch_by_batch_and_stops_when_told(llama: LocalModel) -> None:
    target = TransformersTarget(llama, batch_size=4)
    wanted = target.generate(INPUTS, GREEDY)
    seen: dict[int, Generation] = {}
    for index, generation in target.stream(INPUTS, GREEDY, lambda: len(seen) >= 4):
        seen[index] = generation
    assert len(seen) == 4
    assert all(wanted[index] == generation for index, generation in seen.items())


def test_a_batch_that_nobody_waits_for_any_longer_is_cut_short(llama: LocalModel) -> None:
    asked = 0

    def after_three_tokens() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4  # once before the batch, then once a token

    endless = Sampling(max_new_tokens=60, seed=1, temperature=5.0)
    assert list(TransformersTarget(llama).stream(INPUTS[:2], endless, after_three_tokens)) == []
    assert asked <= 6


def test_the_score_is_the_mean_log_probability_of_the_answers_tokens(model: LocalModel) -> None:
    """Against the model's own loss, which transformers computes from labels."""
    import torch

    text, completion = INPUTS[1], " Because of that."
    (score,) = TransformersTarget(model).score([text], [completion])
    prompt, together = encode(model.tokenizer, text), encode(model.tokenizer, text + completion)
    assert together[: len(prompt)] == prompt
    ids = torch.tensor([together])
    labels = ids.clone()
    labels[0, : len(prompt)] = -100
    with torch.inference_mode():
        loss = model.network(model.base)(input_ids=ids, labels=labels).loss
    assert score == pytest.approx(-float(loss), abs=1e-4)


def test_what_the_model_says_itself_is_likelier_than_the_same_backwards(model: LocalModel) -> None:
    target = TransformersTarget(model)
    (said,) = target.generate(INPUTS[:1], GREEDY)
    own, backwards = target.score([INPUTS[0]] * 2, [said.text, said.text[::-1]])
    assert backwards < own < 0
    assert target.score([], []) == []
