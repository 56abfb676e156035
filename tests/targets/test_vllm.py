"""VllmTarget against a real vLLM: `make test-vllm` gives it one in an environment of its own; skipped without."""

import math
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, MissingExtraError, TargetError
from iteralign.records import Checkpoint, Generation, Sampling, TrainingExample
from iteralign.settings.model import ServedSettings, VllmSettings
from iteralign.settings.training import Method, TrainingSettings
from iteralign.targets.served import ServedTarget
from iteralign.targets.transformers import TransformersTarget
from iteralign.targets.vllm import VllmTarget
from iteralign.trainers.sft import SFT
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel

PYTHON = os.environ.get("ITERALIGN_VLLM_PYTHON")
needs_vllm = pytest.mark.skipif(PYTHON is None, reason="needs vLLM: make test-vllm sets ITERALIGN_VLLM_PYTHON")
INPUTS = [f"\n\nHuman: {'why ' * (n % 5)}number {n}?\n\nAssistant:" for n in range(11)]
GREEDY = Sampling(max_new_tokens=24)
TIE = 1e-3


def model_in(directory: Path, tokenizer: Path, tied: bool) -> LocalModel:
    """A random Llama whose attention heads are as wide as vLLM's CPU kernels need them."""
    import transformers
    from conftest import random_llama

    words: Any = transformers.AutoTokenizer.from_pretrained(tokenizer)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
    network = random_llama(words, num_key_value_heads=2, tie_word_embeddings=tied, **shape)
    network.save_pretrained(directory / "model")
    words.save_pretrained(directory / "model")
    return LocalModel(str(directory / "model"), root=directory, device="cpu", dtype="float32")


@pytest.fixture
def llama(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return model_in(tmp_path, tiny_llama, tied=False)


@pytest.fixture
def tied(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    """Its input embedding is its output layer."""
    return model_in(tmp_path, tiny_llama, tied=True)


def target_of(model: LocalModel) -> VllmTarget:
    return VllmTarget(model, VllmSettings(python=Path(PYTHON or "python")), 4, {"max_model_len": 128})


@pytest.fixture
def target(llama: LocalModel) -> Iterator[VllmTarget]:
    one = target_of(llama)
    yield one
    one.close()


def whole(generation: Generation) -> Any:
    return generation


def without_half_letters(generation: Generation) -> Any:
    """vLLM's server leaves out the bytes of a letter that an answer's end cuts through."""
    return generation.text.rstrip("\ufffd"), generation.finish


def same_up_to_ties(
    model: LocalModel, checkpoint: Checkpoint, ours: list[Generation], theirs: list[Generation], told: Any = whole
) -> int:
    """Number of equal texts; where two differ, transformers must hold the two tokens for a near tie."""
    import torch

    equal = 0
    for text, one, other in zip(INPUTS, ours, theirs, strict=True):
        if told(one) == told(other):
            equal += 1
            continue
        first, second = (model.tokenizer(each.text, add_special_tokens=False)["input_ids"] for each in (one, other))
        begin = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
        )
        ids = torch.tensor([encode(model.tokenizer, text) + first[:begin]])
        with torch.no_grad():
            best = model.network(checkpoint)(input_ids=ids).logits[0, -1].topk(2).values
        assert float(best[0] - best[1]) < TIE, (text, one, other)
    return equal


def train(model: LocalModel, method: Method, start: Checkpoint, number: int) -> Checkpoint:
    rows = [
        TrainingExample(prompt=text, completion=" no, never.", kind="revision", prompt_id=text, round=number)
        for text in INPUTS[:6]
    ]
    trainer = SFT(
        model, TrainingSettings(method=method, learning_rate=0.05 if method == "lora" else 0.005, epochs=3, lora_r=4), 0
    )
    return trainer.finetune(start, rows, model.storage.root / f"{method}-{number}", number)


@needs_vllm
def test_greedy_texts_are_those_of_transformers(llama: LocalModel, target: VllmTarget) -> None:
    wanted = TransformersTarget(llama).generate(INPUTS, GREEDY)
    assert same_up_to_ties(llama, llama.base, wanted, target.generate(INPUTS, GREEDY)) >= 9
    penalised = GREEDY.model_copy(update={"frequency_penalty": 0.7, "stop": ("e",)})
    wanted = TransformersTarget(llama).generate(INPUTS, penalised)
    found = target.generate(INPUTS, penalised)
    assert [(one.text, one.finish) for one in wanted] == [(one.text, one.finish) for one in found]
    assert any(one.finish == "stop" for one in found)


@needs_vllm
def test_a_sampled_answer_does_not_depend_on_its_batch(target: VllmTarget) -> None:
    sampling = Sampling(max_new_tokens=12, temperature=1.0, top_p=0.95, min_p=0.01, seed=3)
    together = target.generate(INPUTS, sampling)
    assert target.generate(INPUTS[:2], sampling) == together[:2]
    assert target.generate(INPUTS, sampling.model_copy(update={"seed": 4})) != together


@needs_vllm
def test_scores_are_those_of_transformers(llama: LocalModel, target: VllmTarget) -> None:
    answers = [f" {'word ' * (n % 4)}and {n}." for n in range(len(INPUTS))]
    wanted = TransformersTarget(llama).score(INPUTS, answers)
    assert target.score(INPUTS, answers) == pytest.approx(wanted, abs=0.01)
    nothing, cut = target.score(INPUTS[:2], ["", "word " * 400])
    assert math.isnan(nothing) and math.isfinite(cut)
    assert target.score([], []) == []


@needs_vllm
def test_a_stream_stops_when_told_and_the_engine_goes_on(target: VllmTarget) -> None:
    wanted = target.generate(INPUTS, GREEDY)
    seen: dict[int, Generation] = {}
    for index, generation in target.stream(INPUTS, Sampling(max_new_tokens=64), lambda: True):
        seen[index] = generation
    assert seen == {}
    stream = target.stream(INPUTS, GREEDY)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert target.generate(INPUTS, GREEDY) == wanted


@needs_vllm
def test_a_prompt_that_does_not_fit_is_said_to_be_too_long(target: VllmTarget) -> None:
    long, short = target.generate(["word " * 200, INPUTS[0]], GREEDY)
    assert long.finish == "prompt_too_long" and short.finish in ("stop", "length")


@needs_vllm
@pytest.mark.parametrize("method", ["lora", "full"])
def test_weights_follow_the_rounds(llama: LocalModel, target: VllmTarget, method: Method) -> None:
    before = target.generate(INPUTS, GREEDY)
    checkpoint = llama.base
    for number in range(2):
        checkpoint = train(llama, method, checkpoint, number)
        target.load(checkpoint)
        wanted = TransformersTarget(llama)
        wanted.load(checkpoint)
        texts = wanted.generate(INPUTS, GREEDY)
        found = target.generate(INPUTS, GREEDY)
        assert same_up_to_ties(llama, checkpoint, texts, found) >= 8
        assert found != before
        before = found
    target.load(llama.base)
    assert (
        same_up_to_ties(
            llama, llama.base, TransformersTarget(llama).generate(INPUTS, GREEDY), target.generate(INPUTS, GREEDY)
        )
        >= 9
    )


@needs_vllm
def test_tied_embeddings_follow_the_rounds_too(tied: LocalModel) -> None:
    target = target_of(tied)
    target.generate(INPUTS, GREEDY)
    checkpoint = train(tied, "full", tied.base, 0)
    target.load(checkpoint)
    wanted = TransformersTarget(tied)
    wanted.load(checkpoint)
    assert same_up_to_ties(tied, checkpoint, wanted.generate(INPUTS, GREEDY), target.generate(INPUTS, GREEDY)) >= 8
    target.close()


@needs_vllm
def test_weights_that_are_not_the_trained_ones_are_an_error(tied: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM keeps the old output layer where embeddings are tied: loaded in place, that must show."""
    monkeypatch.setattr(LocalModel, "ties_embeddings", False)
    target = target_of(tied)
    target.generate(INPUTS, GREEDY)
    target.load(train(tied, "full", tied.base, 0))
    with pytest.raises(TargetError, match="does not generate with the weights that were trained"):
        target.generate(INPUTS, GREEDY)


@needs_vllm
def test_what_vllm_says_of_a_model_it_can_not_load_is_told(tmp_path: Path, llama: LocalModel) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no such thing"}')
    target = target_of(llama)
    monkey = LocalModel(str(tmp_path), root=tmp_path, device="cpu", dtype="float32")
    target.model = monkey
    monkey.__dict__["tokenizer"] = llama.tokenizer
    monkey.__dict__["context_length"] = 128
    with pytest.raises(TargetError, match="vLLM failed"):
        target.generate(INPUTS[:1], GREEDY)


def test_without_vllm_the_command_that_installs_it_is_named(llama: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iteralign.targets.vllm.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'iteralign\[vllm\]'"):
        VllmTarget(llama, VllmSettings())


def test_a_python_that_is_not_there_is_named(llama: LocalModel) -> None:
    with pytest.raises(ConfigError, match="nowhere/python"):
        VllmTarget(llama, VllmSettings(python=Path("nowhere/python"))).generate(INPUTS, GREEDY)


def test_the_weights_of_rounds_that_are_past_are_not_read(llama: LocalModel) -> None:
    """A resumed run names each of them; with `training.keep: last` all but the last are gone."""
    target = VllmTarget(llama, VllmSettings(python=Path("python")))
    for number in range(3):
        target.load(Checkpoint(kind="full", path=f"rounds/000{number}/checkpoint", round=number))


def test_it_sleeps_while_it_rests_and_only_on_a_gpu(llama: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Engine:
        def call(self, do: str) -> None:
            told.append(do)

    target = VllmTarget(llama, VllmSettings(python=Path("python")))
    target.rest()
    monkeypatch.setattr(target, "_engine", Engine())
    target.rest()
    assert told == [], "nothing is started, and on a CPU vLLM has no sleep"
    monkeypatch.setattr(LocalModel, "device", "cuda")
    monkeypatch.setattr(target, "_loaded", target._wanted)
    target.rest()
    target.rest()
    target._ready()
    assert told == ["sleep", "wake"]


def test_weights_are_compared_again_after_a_sleep(llama: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reported of vLLM: an adapter is lost in it, without a word (vllm#53888)."""
    trained = Checkpoint(kind="adapter", path="rounds/0000/adapter", round=0)
    target = VllmTarget(llama, VllmSettings(python=Path("python")))
    target.load(trained)

    class Engine:
        def call(self, do: str, **_: Any) -> Any:
            return [-1000.0, -1000.0] if do == "logprobs" else True

        def close(self) -> None:
            pass

    for name, value in {"_engine": Engine(), "_loaded": trained, "_asleep": True, "_expected": [-20.0, -30.0]}.items():
        monkeypatch.setattr(target, name, value)
    with pytest.raises(TargetError, match="does not generate with the weights that were trained"):
        target._ready()


@pytest.fixture
def server(llama: LocalModel, tmp_path: Path) -> Iterator[str]:
    """vLLM's own server, with adapters at run time; its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = {"model": llama.name_or_path, "served-model-name": "base", "port": port, "host": "127.0.0.1"}
    arguments |= {"max-model-len": 128, "max-lora-rank": 8, "dtype": "float32", "kv-cache-memory-bytes": 2**29}
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--enable-lora", "--enforce-eager"]
    command += [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + 200
            while not _answers(f"http://127.0.0.1:{port}/health"):
                said = (tmp_path / "server.log").read_text()[-2000:]
                assert process.poll() is None and time.monotonic() < deadline, said
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return int(reply.status) == 200
    except OSError:
        return False


@needs_vllm
def test_a_served_model_follows_the_rounds_too(llama: LocalModel, server: str) -> None:
    target = ServedTarget(llama, ServedSettings(base_url=server, name="base"))
    plain = TransformersTarget(llama).generate(INPUTS, GREEDY)
    assert same_up_to_ties(llama, llama.base, plain, target.generate(INPUTS, GREEDY), without_half_letters) >= 9
    checkpoint = llama.base
    for number in range(2):
        checkpoint = train(llama, "lora", checkpoint, number)
        target.load(checkpoint)
        wanted = TransformersTarget(llama)
        wanted.load(checkpoint)
        found = target.generate(INPUTS, GREEDY)
        assert same_up_to_ties(llama, checkpoint, wanted.generate(INPUTS, GREEDY), found, without_half_letters) >= 8
        assert found != plain
