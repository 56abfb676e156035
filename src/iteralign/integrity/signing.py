"""OpenSSF model signing: RUN/model and the run's manifest, signed with a private key, so that others can tell who vouches.

The signatures are Sigstore bundles that the package's own command line verifies too. Keyless signing by an identity asks
Sigstore's servers: `python -m model_signing sign sigstore RUN/model`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.errors import ConfigError, MissingExtraError, RunDirectoryError
from iteralign.integrity.verify import verify_run
from iteralign.rundir.reader import read_run

SIGNATURES = {layout.MODEL: layout.MODEL_SIGNATURE, layout.MANIFEST: layout.MANIFEST_SIGNATURE}
"""What is signed, and where its signature goes."""
_WORDS = 120  # characters of the package's own words in a message


def sign_run(run: Path, key: Path) -> list[Path]:
    """Sign a finished run with an unencrypted elliptic-curve key (P-256, P-384 or P-521, PEM); returns the signatures.

    Raises RunDirectoryError for a run that is not what was computed.
    """
    signing = _package().signing
    found = verify_run(run)
    if not found.good or not found.manifest or not read_run(run).finished:
        why = found.problems[0] if found.problems else "it is not finished, or an earlier version wrote it"
        raise RunDirectoryError(f"{run} is not signed: {why}.")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{key} is no unencrypted private key on P-256, P-384 or P-521: {error}") from error
    made = []
    for name, signature in SIGNATURES.items():
        if (run / name).exists():
            signer.sign(run / name, run / signature)
            made.append(run / signature)
    return made


def wrong_signatures(run: Path, key: Path) -> Iterator[str]:
    """What of a run is not as the holder of this public key has signed it."""
    verifying = _package().verifying
    for name, signature in SIGNATURES.items():
        try:
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{key} is no public key on P-256, P-384 or P-521: {error}") from error
        if not (run / name).exists():
            continue
        if not (run / signature).exists():
            yield f"{name} has no signature {signature}"
            continue
        try:
            verifier.verify(run / name, run / signature)
        except Exception as error:  # a signature is anybody's file: whatever it raises, it vouches for nothing
            yield f"{name} is not what the key's holder has signed in {signature}: {_short(error)}"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _WORDS else f"{text[:_WORDS]}..."


def _package() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise MissingExtraError("Signing needs the extra `sign`: pip install 'iteralign[sign]'") from error
    return model_signing
