"""A signed run: whoever has the public key sees any change, also one that the manifest was rewritten for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli.test_init import iteralign
from report.conftest import fake_run

from iteralign.errors import ConfigError, RunDirectoryError
from iteralign.integrity.signing import sign_run, wrong_signatures
from iteralign.integrity.verify import verify_run
from iteralign.layout import MANIFEST
from iteralign.rundir.directory import record_again
from iteralign.rundir.manifest import Manifest, ours

pytest.importorskip("model_signing", reason="the extra sign is not installed")


def keys(place: Path, encrypted: bool = False) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    how = form.BestAvailableEncryption(b"secret") if encrypted else form.NoEncryption()
    private, public = place / "private.pem", place / "public.pem"
    private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, how))
    public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a model, which fakes don't write."""
    run = fake_run(tmp_path_factory.mktemp("signing") / "run")
    (run / "model").mkdir()
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    record_again(run, "model/model.safetensors")
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_a_signed_run_is_verified_by_us_and_by_the_package_itself(run: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    assert iteralign("sign", str(run), "--key", str(private)).exit_code == 0
    done = iteralign("verify", str(run), "--key", str(public))
    assert done.exit_code == 0, done.stdout
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(run / "model")]
    command += ["--signature", str(run / "model.sig"), "--public_key", str(public)]
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 0, other.stderr


def test_a_run_that_was_rewritten_with_its_manifest_fails(run: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    sign_run(run, private)
    path = run / "rounds" / "0000" / "5_examples.jsonl"
    path.write_text(path.read_text().replace("sorry", "happy"))
    (run / "model" / "model.safetensors").write_bytes(b"Weights")
    (run / MANIFEST).unlink()
    manifest = Manifest(run)
    manifest.add({**manifest.found(ours(run))}, complete=True)
    assert verify_run(run).good, "who rewrites all of it goes unseen without a signature"
    done = iteralign("verify", str(run), "--key", str(public))
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()[:2]] == ["model", "manifest.jsonl"]


def test_another_key_a_missing_and_a_torn_signature_vouch_for_nothing(run: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = keys(tmp_path / "other")
    sign_run(run, private)
    assert list(wrong_signatures(run, public)) == []
    assert len(list(wrong_signatures(run, other))) == 2
    (run / "model.sig").unlink()
    (run / "manifest.sig").write_bytes((run / "manifest.sig").read_bytes()[:-9])
    assert [fault.split(" has no")[0].split(" is not")[0] for fault in wrong_signatures(run, public)] == [
        "model",
        MANIFEST,
    ]


def test_what_is_not_signed(run: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    locked, _ = keys(tmp_path, encrypted=True)
    for key in (public, locked, tmp_path / "none.pem"):
        with pytest.raises(ConfigError, match="no unencrypted private key"):
            sign_run(run, key)
    private, public = keys(tmp_path)
    with pytest.raises(ConfigError, match="no public key"):
        list(wrong_signatures(run, private))
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(RunDirectoryError, match=r"not signed: metrics\.jsonl was changed"):
        sign_run(run, private)
