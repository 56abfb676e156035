"""GGUF files as models: read once, kept, trained, exported, resumed; and what is said of those that can't be read."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import byte_tokenizer, random_llama

from iteralign.errors import TargetError
from iteralign.evals.evaluate import Options, evaluate, subject_of
from iteralign.records import Sampling, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.targets.tokens import end_tokens
from iteralign.targets.transformers import TransformersTarget
from iteralign.trainers.sft import SFT
from iteralign.weights.gguf import GGUF, is_gguf
from iteralign.weights.model import LocalModel

EXAMPLES = [
    TrainingExample(prompt=f"Human: {n}?\n\nAssistant:", completion=" no", kind="revision", prompt_id=str(n), round=0)
    for n in range(3)
]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }};{% endfor %}"


def write_gguf(path: Path, network: Any, tokenizer: Any, architecture: str = "llama", **numbers: int) -> Path:
    """A Llama as llama.cpp's converter writes it, in float32; `numbers` are further metadata."""
    import gguf

    config = network.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if number < 2 else 1 for _, number in vocabulary])  # control, normal
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, value in numbers.items():
        writer.add_uint32(name.replace("__", "."), value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in network.state_dict().items():
        stem, _, suffix = name.rpartition(".")
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", _permuted(stem, weight.numpy(), config))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return path


def _permuted(name: str, weight: Any, config: Any) -> Any:
    """Llama's queries and keys have their halves interleaved in a GGUF."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.rpartition(".")[2])
    if heads is None:
        return weight
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def original() -> Any:
    return random_llama(byte_tokenizer()).eval()


@pytest.fixture
def file(original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GGUF of `original`, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_gguf(tmp_path / "tiny.gguf", original, byte_tokenizer())


def owner(file: Path, **settings: Any) -> LocalModel:
    return LocalModel(str(file), root=file.parent, device="cpu", **settings)


def logits(network: Any) -> Any:
    import torch

    with torch.no_grad():
        return network(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def test_names() -> None:
    assert is_gguf("a/b.gguf") and is_gguf("owner/name:b.Q4_K_M.GGUF")
    assert not is_gguf("owner/name") and not is_gguf("/dir/gguf")


def test_it_is_the_model_that_it_was_made_from(file: Path, original: Any) -> None:
    import torch

    model = owner(file)
    assert torch.equal(logits(model.at(model.base)), logits(original))
    assert model.context_length == 128
    assert model.tokenizer("Human: é?")["input_ids"] == byte_tokenizer()("Human: é?")["input_ids"]
    assert model.render_chat is not None
    assert model.render_chat([{"role": "user", "content": "hi"}]) == "user: hi;"


def test_it_is_converted_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner(file).at(owner(file).base)

    def again(self: GGUF, place: Path) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(GGUF, "_write_description", again)
    monkeypatch.setattr(GGUF, "_write_model", again)
    renamed = file.rename(file.with_name("other.gguf"))
    model = owner(renamed)
    model.at(model.base)


def test_questions_about_the_model_do_not_convert_its_weights(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GGUF, "_write_model", None)
    model = owner(file)
    assert sum(weight.numel() for weight in model.empty_network().parameters()) > 0
    assert end_tokens(model) == [0]


def test_tokens_that_end_a_turn_end_an_answer(file: Path, original: Any) -> None:
    """Chat models name them apart from eos, and transformers leaves them out."""
    other = write_gguf(file.with_name("turns.gguf"), original, byte_tokenizer(), tokenizer__ggml__eot_token_id=7)
    assert end_tokens(owner(other)) == [0, 7]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_export_and_reload(file: Path, original: Any, method: Any) -> None:
    import torch
    import transformers

    model = owner(file)
    trainer = SFT(model, TrainingSettings(method=method, learning_rate=0.01), 0)
    checkpoint = trainer.finetune(model.base, EXAMPLES, file.parent / "round", 0)
    trained = logits(model.at(checkpoint))
    assert not torch.equal(trained, logits(original))
    model.export(checkpoint, file.parent / "model")
    again = transformers.AutoModelForCausalLM.from_pretrained(file.parent / "model")
    assert torch.allclose(logits(again), trained, atol=1e-5)
    assert transformers.AutoTokenizer.from_pretrained(file.parent / "model").chat_template == TEMPLATE
    fresh = owner(file)
    assert torch.equal(logits(fresh.at(checkpoint)), trained)


def test_benchmarks_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")
    from iteralign.evals.tasks.hhh import SUBSETS

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tokenizer = byte_tokenizer()
    file = write_gguf(tmp_path / "m.gguf", random_llama(tokenizer, max_position_embeddings=1024), tokenizer)
    for subset in SUBSETS:
        (tmp_path / "hhh_alignment" / subset).mkdir(parents=True)
        pair = {"input": "Bread?", "target_scores": {"Mix flour.": 1, "No.": 0}}
        (tmp_path / "hhh_alignment" / subset / "task.json").write_text(json.dumps({"examples": [pair]}))
    options = Options(tasks=("hhh",), data=tmp_path)  # one of its forms reads the context's length
    (found,) = evaluate(subject_of(str(file)), options)
    assert not found.not_run and {row.n for row in found.rows} == {1, len(SUBSETS)}


def test_an_adapter_names_the_file_and_not_the_cache(file: Path) -> None:
    model = owner(file)
    SFT(model, TrainingSettings(), 0).finetune(model.base, EXAMPLES, file.parent / "round", 0)
    config = json.loads((file.parent / "round" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(file)
    assert "cache" not in (file.parent / "round" / "adapter" / "README.md").read_text()


def test_the_fingerprint_is_that_of_the_content(file: Path) -> None:
    before = owner(file).fingerprint()
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(bytes(content))
    assert owner(file).fingerprint() != before


def test_what_was_interrupted_is_converted_anew(file: Path) -> None:
    model = owner(file)
    description = Path(model.described_by)
    (description.parent / "model.part").mkdir()
    (description.parent / "model.part" / "config.json").write_text("{")
    model.at(model.base)
    assert sorted(path.name for path in description.parent.iterdir()) == ["description", "lock", "model"]


@pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
def test_a_file_cut_short_is_called_that(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(TargetError, match=r"tiny\.gguf can't be read: it is cut short or damaged"):
        owner(file).tokenizer  # noqa: B018
    assert not list((file.parent / "cache").rglob("config.json"))


def test_what_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>Not found</html>")
    with pytest.raises(TargetError, match="is no GGUF file"):
        owner(tmp_path / "page.gguf").tokenizer  # noqa: B018


def test_an_architecture_that_transformers_does_not_read(file: Path, original: Any) -> None:
    other = write_gguf(file.with_name("other.gguf"), original, byte_tokenizer(), architecture="gptj")
    with pytest.raises(TargetError, match=r"architecture gptj is not supported.*bloom, .*llama") as raised:
        owner(other).tokenizer  # noqa: B018
    assert "engine served" in str(raised.value)


def test_one_part_of_several(file: Path, original: Any) -> None:
    part = write_gguf(file.with_name("part.gguf"), original, byte_tokenizer(), split__count=3)
    with pytest.raises(TargetError, match="one of 3 parts"):
        owner(part).tokenizer  # noqa: B018


@pytest.mark.parametrize("name", ["nowhere.gguf", "/no/such.gguf", "some/where.gguf"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"no file .*owner/name:file\.gguf"):
        LocalModel(name, root=tmp_path).tokenizer  # noqa: B018


def test_a_name_on_the_hub_goes_to_the_hub(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[Any, ...]] = []

    def download(repository: str, name: str, revision: str | None) -> str:
        asked.append((repository, name, revision))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    model = LocalModel("owner/name-GGUF:deep/tiny.gguf", root=tmp_path, revision="main")
    assert model.context_length == 128
    assert asked == [("owner/name-GGUF", "deep/tiny.gguf", "main")]


def test_a_name_that_the_hub_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="neither a file here nor to be had from the Hugging Face hub"):
        LocalModel("owner/name:tiny.gguf", root=tmp_path).tokenizer  # noqa: B018


def test_greedy_answers_are_those_of_the_original(file: Path, original: Any, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path / "original")
    byte_tokenizer().save_pretrained(tmp_path / "original")
    sampling = Sampling(temperature=0, max_new_tokens=8)
    ours, theirs = (
        TransformersTarget(owner(path)).generate(["Human: a?"], sampling) for path in (file, tmp_path / "original")
    )
    assert ours == theirs
