"""Uploading a run's model, data or report to the Hugging Face hub: what was asked for, and nothing else."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from iteralign import layout
from iteralign.errors import PushError, RunDirectoryError
from iteralign.files import write_text
from iteralign.integrity.verify import verify_run
from iteralign.report.cards import dataset_card, model_card
from iteralign.report.export import export_pairs
from iteralign.report.html import write_report
from iteralign.rundir.reader import read_run

Part = Literal["model", "data", "report"]

_MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Upload:
    """One repository and the files that go into it: path in the repository, and where they are."""

    repository: str
    kind: Literal["model", "dataset"]
    files: dict[str, Path]


@contextlib.contextmanager
def prepared(run_dir: Path, name: str, parts: set[Part]) -> Iterator[list[Upload]]:
    """What would be uploaded, with cards and exports in a directory that is gone afterwards. Nothing is sent.

    The model goes to the model repository NAME, the pairs with the constitution to the data set repository NAME, the
    report to the model's or, where no model goes, to the data set's. Raises RunDirectoryError.
    """
    with tempfile.TemporaryDirectory(prefix="iteralign-push-") as place:
        made = Path(place)
        uploads = []
        if "model" in parts:
            uploads.append(Upload(name, "model", _model_files(run_dir, name, made)))
        if "data" in parts:
            uploads.append(Upload(name, "dataset", _data_files(run_dir, name, made)))
        if "report" in parts:
            page = write_report(run_dir, made / layout.REPORT)
            if uploads:
                uploads[0].files[layout.REPORT] = page
            else:
                uploads.append(Upload(name, "dataset", {layout.REPORT: page}))
        yield uploads


def check_unchanged(run_dir: Path) -> None:
    """Raises RunDirectoryError for a run that is not what was computed."""
    found = verify_run(run_dir)
    if not found.good:
        raise RunDirectoryError(
            f"{run_dir} is not what was computed, so it is not uploaded: {found.problems[0]}. `iteralign verify {run_dir}` "
            "says more; --force uploads it all the same."
        )


def push(upload: Upload, *, private: bool = True, endpoint: str | None = None) -> str:
    """Create the repository where there is none and put the files into it in one commit; returns its address.

    The token is huggingface_hub's own (`hf auth login`, or HF_TOKEN), the endpoint HF_ENDPOINT's if not given. An
    existing repository stays as public as it is. Raises PushError.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=endpoint, library_name="iteralign")
    try:
        made = api.create_repo(upload.repository, repo_type=upload.kind, private=private, exist_ok=True)
        operations = [
            huggingface_hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=file)
            for path, file in sorted(upload.files.items())
        ]
        api.create_commit(made.repo_id, operations, commit_message="Upload by iteralign", repo_type=upload.kind)
    except Exception as error:  # of the hub and of its transport, which is another library in each of its versions
        raise PushError(f"{upload.repository} could not be uploaded: {_said(error, api.endpoint)}") from error
    return str(made)


def _said(error: Exception, endpoint: str) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"{first} Log in by `hf auth login`, or set HF_TOKEN to a token that may write there."
    if status is None and not isinstance(error, ValueError):
        return f"{endpoint} can't be reached ({first}). Nothing was sent; try again when it can."
    return first


def _model_files(run_dir: Path, name: str, made: Path) -> dict[str, Path]:
    model = read_run(run_dir).model
    if model is None:
        raise RunDirectoryError(
            f"{run_dir / layout.MODEL} holds no model: the run is not finished, or its target was not iteralign's own."
        )
    files = {path.name: path for pattern in _MODEL_FILES for path in model.glob(pattern)}
    return files | {"README.md": _written(made / "model-card.md", model_card(run_dir, name))}


def _data_files(run_dir: Path, name: str, made: Path) -> dict[str, Path]:
    files: dict[str, Path] = {"README.md": _written(made / "dataset-card.md", dataset_card(run_dir, name))}
    for form in ("sft", "dpo"):
        if export_pairs(run_dir, form, made / f"{form}.jsonl"):
            files[f"{form}.jsonl"] = made / f"{form}.jsonl"
    return files | {path.name: path for path in (run_dir / layout.CONSTITUTION,) if path.exists()}


def _written(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


def as_text(uploads: list[Upload]) -> list[tuple[str, str, int]]:
    """(repository with its kind, path in it, bytes) of every file, for showing before anything is sent."""
    rows: list[Any] = []
    for upload in uploads:
        rows += [
            (f"{upload.kind} {upload.repository}", path, file.stat().st_size)
            for path, file in sorted(upload.files.items())
        ]
    return rows
