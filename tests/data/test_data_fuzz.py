"""Whatever bytes a file holds, the readers give prompts or a DataError."""

import contextlib
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iteralign.data import load_prompts, read_prompts, same_question_key
from iteralign.errors import DataError

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["question", "id", "turns", "messages"]), inner)
    ),
    max_leaves=8,
)
_bytes = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    _values.map(lambda value: json.dumps(value).encode()),
    _values.map(pickle.dumps),
    st.tuples(_values.map(pickle.dumps), st.integers(0, 60), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    ),
)
_settings = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "txt", "pkl", "parquet", "json.gz"])
@given(data=_bytes)
@_settings
def test_any_bytes(tmp_path: Path, ending: str, data: bytes) -> None:
    path = tmp_path / f"fuzz.{ending}"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        assert load_prompts(str(path))
    with contextlib.suppress(DataError):
        assert read_prompts(path)


@given(st.text())
@_settings
def test_keys_ignore_case_and_space(text: str) -> None:
    assert same_question_key(text) == same_question_key(f" {text} ")
