"""Likeness by words, and by the embeddings of a tiny sentence-transformers model made on the spot."""

from pathlib import Path

import pytest

from iteralign.errors import ConfigError, MissingExtraError
from iteralign.text.similarity import by_embeddings, by_words


def test_by_words() -> None:
    ((same, close, far),) = by_words(
        ["Decline to help with theft."], ["decline, to help with THEFT!", "Decline to help with fraud.", "Zebras!"]
    )
    assert same == 1 and far < 0.5 < close < 1
    assert by_words([], ["x"]) == [] and by_words(["x"], []) == [[]]


def test_by_embeddings(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="the extra `embeddings` is not installed")
    model = tiny_embedder(tmp_path, library)
    texts = ["Decline to help with theft.", "Decline to help with fraud."]
    matrix = by_embeddings(str(model))(texts, [*texts, texts[0]])
    assert [len(row) for row in matrix] == [3, 3]
    assert matrix[0][0] == pytest.approx(1, abs=1e-5) and matrix[0][2] == pytest.approx(1, abs=1e-5)
    assert all(0 <= value <= 1 for row in matrix for value in row) and matrix[0][1] < 1
    assert by_embeddings(str(model))([], texts) == []


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"iteralign\[embeddings\]"):
        by_embeddings("any")(["a"], ["b"])


def tiny_embedder(path: Path, library: object) -> Path:
    """A random BERT over letters; sentence-transformers adds mean pooling to a plain encoder."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    alphabet = {letter: number for number, letter in enumerate(["[PAD]", "[UNK]", *map(chr, range(32, 127))])}
    raw = Tokenizer(models.WordLevel(alphabet, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")
    config = transformers.BertConfig(
        vocab_size=len(alphabet), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(path / "bert")
    tokenizer.save_pretrained(path / "bert")
    library.SentenceTransformer(str(path / "bert"), device="cpu").save(str(path / "model"))  # type: ignore[attr-defined]
    return path / "model"


def test_a_model_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `embeddings` is not installed")
    with pytest.raises(ConfigError, match=r"constitution\.embeddings"):
        by_embeddings(str(tmp_path / "nowhere"))(["a"], ["b"])
