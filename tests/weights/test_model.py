"""LocalModel: one set of weights, its checkpoints, its messages."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import TargetError
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import Method, TrainingSettings
from iteralign.trainers.sft import SFT
from iteralign.weights.files import encode
from iteralign.weights.loading import check_tensors
from iteralign.weights.model import LocalModel

EXAMPLES = [
    TrainingExample(prompt=f"Human: {n}?\n\nAssistant:", completion=" no", kind="revision", prompt_id=str(n), round=0)
    for n in range(3)
]


def owner(path: Path, root: Path, **settings: Any) -> LocalModel:
    return LocalModel(str(path), root=root, device="cpu", **settings)


def logits(network: Any) -> Any:
    import torch

    with torch.no_grad():
        return network(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def changed_copy(source: Path, target: Path, **fields: Any) -> Path:
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | fields))
    return target


def test_nothing_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    LocalModel("no/such-model", root=tmp_path)


def test_the_same_checkpoint_is_not_loaded_twice(tiny_llama: Path, tmp_path: Path) -> None:
    model = owner(tiny_llama, tmp_path)
    assert model.at(model.base) is model.at(model.base)


def test_pad_token_falls_back_to_eos_and_padding_is_left(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = owner(tiny_llama, tmp_path).tokenizer
    assert tokenizer.pad_token == "<eos>"
    assert tokenizer.padding_side == "left"


def test_a_tokenizer_without_pad_eos_and_unk_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare"
    shutil.copytree(tiny_llama, path)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if "eos" not in k}))
    with pytest.raises(TargetError, match="no pad, eos or unk"):
        owner(path, tmp_path).tokenizer  # noqa: B018


def test_context_length(tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    assert owner(tiny_llama, tmp_path).context_length == 128
    assert owner(tiny_gpt2, tmp_path).context_length == 128


def test_chat_template_or_none(tiny_llama: Path, tmp_path: Path) -> None:
    model = owner(tiny_llama, tmp_path)
    assert model.render_chat is None
    model.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }};{% endfor %}"
    assert model.render_chat is not None
    assert model.render_chat([{"role": "user", "content": "hi {x}"}]) == "user: hi {x};"


@pytest.mark.parametrize("name", ["/no/such/model", "./no-such-model", "a/b/c"])
def test_a_path_that_does_not_exist(name: str, tmp_path: Path) -> None:
    model = LocalModel(name, root=tmp_path, device="cpu")
    with pytest.raises(TargetError, match="no such directory"):
        model.at(model.base)


def test_a_hub_name_without_network(tmp_path: Path) -> None:
    model = LocalModel("nobody/no-such-model", root=tmp_path, device="cpu")
    with pytest.raises(TargetError, match="check the name, the network"):
        model.at(model.base)


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    model = LocalModel(str(tmp_path), root=tmp_path, device="cpu")
    with pytest.raises(TargetError, match=r"no config\.json"):
        model.at(model.base)


def test_pickled_weights_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    path = changed_copy(tiny_llama, tmp_path / "pickled")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    model = owner(path, tmp_path)
    with pytest.raises(TargetError, match="pickles"):
        model.at(model.base)


def test_code_of_the_model_is_not_run_unasked(tiny_llama: Path, tmp_path: Path) -> None:
    path = changed_copy(
        tiny_llama,
        tmp_path / "own-code",
        model_type="owncode",
        auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
    )
    (path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    model = owner(path, tmp_path)
    with pytest.raises(TargetError, match="trust_remote_code"):
        model.at(model.base)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_with_more_tokens_than_the_model(tiny_llama: Path, tmp_path: Path) -> None:
    from conftest import byte_tokenizer

    path = changed_copy(tiny_llama, tmp_path / "misfit")
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([f"<extra{n}>" for n in range(40)])
    tokenizer.save_pretrained(path)
    model = owner(path, tmp_path)
    with pytest.raises(TargetError, match="does not fit the model"):
        model.at(model.base)


def test_an_adapter_that_is_not_there(tiny_llama: Path, tmp_path: Path) -> None:
    model = owner(tiny_llama, tmp_path)
    with pytest.raises(TargetError, match=r"adapter is not there.*0000/6_checkpoint\.json"):
        model.at(Checkpoint(kind="adapter", path="rounds/0000/adapter"))
    (tmp_path / "rounds" / "0000" / "adapter").mkdir(parents=True)
    with pytest.raises(TargetError, match=r"no adapter_model\.safetensors"):
        model.at(Checkpoint(kind="adapter", path="rounds/0000/adapter"))
    assert model.at(model.base) is not None


def test_another_runs_base_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="but this run was given"):
        owner(tiny_llama, tmp_path).at(Checkpoint(kind="base", path="other"))


def test_release_and_back(tiny_llama: Path, tmp_path: Path) -> None:
    import torch

    model = owner(tiny_llama, tmp_path)
    before = logits(model.at(model.base))
    model.release()
    assert torch.equal(logits(model.at(model.base)), before)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_checkpoints_read_back_and_export(
    family: str, method: Method, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import torch
    import transformers

    path = request.getfixturevalue(family)
    model = owner(path, tmp_path)
    base = logits(model.at(model.base))
    checkpoint = SFT(model, TrainingSettings(method=method, learning_rate=0.01), 0).finetune(
        model.base, EXAMPLES, tmp_path / "r0", 0
    )
    model.storage.wait()
    trained = logits(model.at(checkpoint))
    assert not torch.equal(trained, base)

    other = owner(path, tmp_path)
    assert torch.equal(logits(other.at(checkpoint)), trained)
    assert torch.equal(logits(other.at(other.base)), base)

    model.export(checkpoint, tmp_path / "model")
    exported = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.allclose(logits(exported), trained, atol=1e-4)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("a b")["input_ids"]
    assert torch.equal(logits(model.at(checkpoint)), trained)
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))
    again = SFT(model, TrainingSettings(method=method), 0).finetune(checkpoint, EXAMPLES, tmp_path / "r1", 1)
    assert not torch.equal(logits(model.at(again)), trained)


def test_encode(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = owner(tiny_llama, tmp_path).tokenizer
    assert encode(tokenizer, "") == [tokenizer.bos_token_id]
    assert encode(tokenizer, "<bos>ab").count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(encode(tokenizer, "a {b} \n\n")) == "a {b} \n\n"


def test_encode_drops_an_eos_that_the_tokenizer_adds() -> None:
    class Adds:
        bos_token, bos_token_id, eos_token, eos_token_id, pad_token_id = "<bos>", 1, "<eos>", 0, 0

        def __call__(self, text: str, add_special_tokens: bool, verbose: bool) -> dict[str, list[int]]:
            return {"input_ids": [1, 7, 0] if add_special_tokens else [1, 7]}

    assert encode(Adds(), "text") == [1, 7]
    assert encode(Adds(), "<bos>text") == [1, 7]


def test_generation_settings_are_those_that_a_loaded_model_has(tiny_llama: Path, tmp_path: Path) -> None:
    """From generation_config.json, or, where a model has none, from its config.json."""
    import shutil

    for name in ("with", "without"):
        shutil.copytree(tiny_llama, tmp_path / name)
    (tmp_path / "without" / "generation_config.json").unlink()
    for name in ("with", "without"):
        model = LocalModel(str(tmp_path / name), root=tmp_path, device="cpu")
        loaded = model.at(model.base).generation_config
        assert model.generation_config.eos_token_id == loaded.eos_token_id == 0


def test_the_attention_asked_for_is_used(tiny_llama: Path, tmp_path: Path) -> None:
    for name in ("eager", "sdpa"):
        model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", attention=name)
        assert model.at(model.base).config._attn_implementation == name


def test_a_flash_kernel_that_is_not_installed_is_said_so(tiny_llama: Path, tmp_path: Path) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", attention="flash_attention_2")
    with pytest.raises(TargetError, match=r"(?i)flash"):
        model.at(model.base)


NORM = {"llama": "model.norm.weight", "gpt2": "transformer.ln_f.weight"}


def changed_tensors(source: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> LocalModel:
    from safetensors.torch import load_file, save_file

    place = shutil.copytree(source, target)
    tensors = load_file(place / "model.safetensors")
    change(tensors)
    save_file(tensors, place / "model.safetensors", {"format": "pt"})
    return owner(place, target.parent)


@pytest.mark.parametrize("family", NORM)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors, norm: tensors.pop(norm), "are missing.*{norm}"),
        (lambda tensors, norm: tensors.update({norm + "s": tensors.pop(norm)}), "are missing.*{norm}"),
        (lambda tensors, norm: tensors.update({"stray": tensors[norm].clone()}), "no place in the model.*stray"),
        (lambda tensors, norm: tensors.update({norm: tensors[norm][:3].clone()}), "another shape.*{norm}"),
    ],
    ids=["missing", "renamed", "extra", "shape"],
)
def test_tensors_that_are_not_the_models_are_refused(
    change: Callable[[dict[str, Any], str], object],
    said: str,
    family: str,
    tiny_llama: Path,
    tiny_gpt2: Path,
    tmp_path: Path,
) -> None:
    source = {"llama": tiny_llama, "gpt2": tiny_gpt2}[family]
    norm = NORM[family]
    one = changed_tensors(source, tmp_path / "copy", lambda tensors: change(tensors, norm))
    for ask in (lambda: check_tensors(one), lambda: one.network(one.base)):  # doctor and plan; a run
        with pytest.raises(TargetError, match=said.format(norm=norm)):
            ask()


def test_tied_and_untied_split_and_whole_models_have_their_tensors(
    tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path
) -> None:
    for source in (tiny_llama, tiny_gpt2):
        one = owner(source, tmp_path)
        check_tensors(one)
        place = tmp_path / f"{source.name}-split"
        one.network(one.base).save_pretrained(place, max_shard_size="20KB")
        assert (place / "model.safetensors.index.json").exists()
        check_tensors(owner(place, tmp_path))


def test_tensors_that_a_models_class_makes_or_ignores_itself(tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    """Older programs wrote rotary frequencies, attention masks and tied output layers down."""
    import torch

    older: list[tuple[Path, dict[str, Any]]] = [
        (tiny_llama, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        (tiny_gpt2, {"transformer.h.0.attn.bias": torch.ones(1, 1, 128, 128)}),
    ]
    for source, more in older:
        one = changed_tensors(source, tmp_path / source.name, lambda tensors, more=more: tensors.update(more))  # type: ignore[misc]
        check_tensors(one)
        one.network(one.base)


def test_tensors_are_checked_without_reading_them(tiny_llama: Path, tmp_path: Path) -> None:
    """The header alone is there: nothing else is looked at."""
    place = shutil.copytree(tiny_llama, tmp_path / "copy")
    file = place / "model.safetensors"
    size = file.stat().st_size
    head = file.read_bytes()
    end = 8 + int.from_bytes(head[:8], "little")
    file.write_bytes(head[:end])
    os.truncate(file, size)  # a hole
    check_tensors(owner(place, tmp_path))
    os.truncate(file, size - 1)
    with pytest.raises(TargetError, match="can't be read"):
        check_tensors(owner(place, tmp_path))


@pytest.mark.parametrize("template", ["{{ raise_exception('no system') }}", "{{ a.b.c }}", "{% for %}", "{{ 1 / 0 }}"])
def test_a_chat_template_that_fails_gives_one_message(template: str, tiny_llama: Path, tmp_path: Path) -> None:
    model = owner(tiny_llama, tmp_path)
    model.tokenizer.chat_template = template
    assert model.render_chat is not None
    with pytest.raises(TargetError, match=r"chat template of .* fails on a conversation of 1 turns"):
        model.render_chat([{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("adapter_config.json", "{}", "peft adapter"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "pytorch_model.bin"}}', "no safetensors"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "gone.safetensors"}}', "not there"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../x/model.safetensors"}}', "outside"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "/x/model.safetensors"}}', "outside"),
        ("model.safetensors.index.json", "[" * 50_000, "can't be read"),
    ],
)
def test_a_directory_that_would_load_as_something_else(
    name: str, text: str, said: str, tiny_llama: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(tiny_llama, tmp_path / "copy")
    (place / name).write_text(text)
    one = LocalModel(str(place), root=tmp_path)
    ways: tuple[Callable[[], object], ...] = (one.empty_network, lambda: one.network(one.base))
    for ask in ways:  # doctor and plan; a run
        with pytest.raises(TargetError, match=said):
            ask()
