"""Whatever a settings file, an override, a template or a ledger holds: the settings, or an error of ours."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iteralign.config import Settings, dump_settings, load_settings
from iteralign.errors import ConfigError, CorruptFileError
from iteralign.oracles.budget import read_calls
from iteralign.oracles.prices import load_prices
from iteralign.prompts import Template

KEYS = [*Settings.model_fields, "path", "prompts", "judge", "panel", "base_url", "votes", "stop", "epochs", "nonsense"]
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
_some = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GOOD: dict[str, Any] = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}


@given(st.binary(max_size=200) | _values.map(lambda value: yaml.safe_dump(value).encode()))
@_some
def test_any_settings_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        load_settings(path)
    with contextlib.suppress(ConfigError):
        load_prices(path)
    with contextlib.suppress(CorruptFileError):
        read_calls(path)


@given(st.dictionaries(st.sampled_from(KEYS), _values, max_size=3), st.text(max_size=30))
@_some
def test_any_sections_and_override(tmp_path: Path, sections: dict[str, Any], override: str) -> None:
    for overrides in ([], [override], [f"oracle.votes={override}"]):
        try:
            loaded = load_settings(GOOD | sections, overrides)
        except ConfigError:
            continue
        (tmp_path / "again.yaml").write_text(dump_settings(loaded), encoding="utf-8")
        assert load_settings(tmp_path / "again.yaml") == loaded


@given(st.text(alphabet="{}ab_ \n%$", max_size=60))
@_some
def test_any_template(text: str) -> None:
    with contextlib.suppress(ConfigError):
        template = Template(text, {"a"})
        assert template.fill(a="{b} {a}") == text.replace("{a}", "{b} {a}")


@pytest.mark.parametrize(
    "text", ["[" * 10 + "]" * 10, "[" * 2000 + "]" * 2000, "seed: 2001-99-99", "a: !!python/name:os.x"]
)
def test_odd_yaml_is_an_error_of_ours(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    for read in (load_settings, load_prices, lambda path: load_settings(GOOD, [f"seed={path.read_text()}"])):
        with pytest.raises(ConfigError):
            read(path)
