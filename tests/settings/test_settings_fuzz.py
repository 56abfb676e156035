"""Whatever a settings file, an override, a template or a ledger holds: the settings, or an error of ours."""

import contextlib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iteralign.errors import ConfigError, CorruptFileError, IteralignError
from iteralign.oracles.budget import read_calls
from iteralign.oracles.prices import load_prices
from iteralign.preflight.plan import make_plan
from iteralign.prompts import Template
from iteralign.settings.file import every_setting, flat
from iteralign.settings.section import LARGEST
from iteralign.settings.settings import Settings, dump_settings, load_settings

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


EXTREMES = (
    "-1",
    "0",
    "1",
    "0.5",
    "1e-300",
    "999999",
    "2147483647",
    "1e12",
    "1e30",
    "-1e30",
    "1" + "0" * 400,
    ".inf",
    "-.inf",
    ".nan",
)
JUDGED = {
    "kind": "openai",
    "judge": {"model": "m"},
    "proposer": {"model": "m"},
    "panel": [{"model": "n"}],
    "guards": [{"family": "wildguard", "model": "g"}],
}


def numeric_settings() -> list[str]:
    """The names of all settings that take a number."""
    return [name for name, field in every_setting(Settings).items() if {int, float} & set(_types(field.annotation))]


def _types(annotation: Any) -> list[Any]:
    return [annotation, *(inner for one in get_args(annotation) for inner in _types(one))]


def test_every_numeric_setting_at_its_extremes_loads_or_says_its_name() -> None:
    names = numeric_settings()
    assert len(names) > 50 and {"seed", "training.replay", "oracle.judge.timeout", "threads"} <= set(names)
    for name in names:
        for value in EXTREMES:
            try:
                loaded = load_settings(GOOD | {"oracle": JUDGED}, [f"{name}={value}"])
            except ConfigError as error:
                assert name.rpartition(".")[2] in str(error)
                assert len(str(error)) < 1000
            else:
                found = flat(loaded.model_dump())[name]
                assert found is None or isinstance(found, str) or abs(found) <= LARGEST


@pytest.mark.parametrize(
    "override",
    [
        *("seed=-1", "training.replay=.inf", "threads=1e30", "model.batch_size=0", "model.batch_size=1" + "0" * 30),
        *(
            "lookahead.rounds=1e30",
            "sampling.temperature=.nan",
            "guard_rails.over_refusal=.inf",
            "oracle.cost_budget=.inf",
        ),
    ],
)
def test_what_gave_a_traceback_is_one_message(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0].rpartition(".")[2]):
        load_settings(GOOD, [override])


def test_what_loads_can_be_planned() -> None:
    """Each setting at the largest extreme that it takes: a plan, or what is wrong."""
    planned = 0
    for name in numeric_settings():
        if name.startswith("oracle."):
            continue
        taken = []
        for value in EXTREMES:
            with contextlib.suppress(ConfigError):
                taken.append(load_settings(GOOD, ["data.limit=40", "data.benign_limit=40", f"{name}={value}"]))
        for settings_taken in taken[-1:]:
            with contextlib.suppress(IteralignError):
                make_plan(settings_taken)
                planned += 1
    assert planned > 30
