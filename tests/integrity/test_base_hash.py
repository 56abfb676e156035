"""The base model's files are hashed as a whole, and read once as long as they stay the same."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import TargetError
from iteralign.weights import base_hash
from iteralign.weights.files import ModelFiles
from iteralign.weights.model import LocalModel

MIB = 1 << 20


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The files that are read, with every one large enough to be remembered."""
    read: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, *arguments: Any) -> Any:
        read.append(Path(file.name).name)
        return digest(file, *arguments)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    monkeypatch.setattr(base_hash, "_SMALL", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read


def test_a_change_in_the_middle_of_the_weights_is_noticed(tmp_path: Path, reads: list[str]) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(5 * MIB))
    model = ModelFiles(str(tmp_path))
    begun, before = model.fingerprint(), base_hash.sampled_hash(tmp_path)
    assert model.is_still(begun) and model.is_still(before) and reads == ["model.safetensors"]
    with weights.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"x")
    assert not model.is_still(begun) and len(reads) == 2
    assert model.is_still(before), "an earlier version looked at the first and last MiB"


def test_bits_that_rot_without_a_trace_are_found_by_reading_again(tmp_path: Path, reads: list[str]) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(bytes(MIB))
    times = weights.stat()
    model = ModelFiles(str(weights))
    begun = model.fingerprint()
    with weights.open("r+b") as file:
        file.write(b"x")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert model.is_still(begun) and not model.is_still(begun, fresh=True)


@pytest.mark.usefixtures("tiny_llama")
def test_weights_that_are_not_finite_are_not_exported(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from iteralign.records import Checkpoint

    broken = Path(shutil.copytree(tiny_llama, tmp_path / "rounds" / "0000" / "checkpoint"))
    state = load_file(broken / "model.safetensors")
    state["model.norm.weight"] = torch.full_like(state["model.norm.weight"], torch.nan)
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", dtype="float32")
    with pytest.raises(TargetError, match=r"not finite \(model\.norm\.weight\), so they are not exported"):
        model.export(Checkpoint(kind="full", path="rounds/0000/checkpoint"), tmp_path / "model")
    assert not (tmp_path / "model").exists()
