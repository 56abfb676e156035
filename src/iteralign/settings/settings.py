"""Settings: typed, documented under each field, saved so that they run again.

Loaded from YAML, overridden by `a.b=value`, checked strictly: an unknown key is an error that names the nearest known one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from iteralign.errors import ConfigError
from iteralign.records import Sampling
from iteralign.settings.cluster import ClusterSettings
from iteralign.settings.constitution import ConstitutionSettings
from iteralign.settings.data import DataSettings, FormSettings
from iteralign.settings.file import explain, flat, read_yaml, with_override
from iteralign.settings.measure import GuardRailSettings, MeasureSettings
from iteralign.settings.model import ModelSettings
from iteralign.settings.oracle import OracleSettings
from iteralign.settings.redteam import RedTeamSettings
from iteralign.settings.renamed import with_new_keys
from iteralign.settings.rounds import LookAheadSettings, RevisionSettings, RoundSettings
from iteralign.settings.section import LARGEST_SEED, Section
from iteralign.settings.training import TrainingSettings


def _as_name(text: str) -> str:
    """A directory is called by it, a tracker's run and a line of a table."""
    told = len(text) <= 100 and len(text.encode()) <= 200 and text.strip() == text != "" and text[:1] not in ".-"
    if not told or not text.isprintable() or any(sign in text for sign in '/\\:*?"<>|'):
        raise ValueError(
            'must be 1 to 100 characters that a directory can be called by: no / \\ : * ? " < > | or line break, no '
            "dot, hyphen or space in front, no space at the end"
        )
    return text


class Settings(Section):
    """All settings of a run."""

    name: Annotated[str, AfterValidator(_as_name)] | None = None
    """What the run is called in status, report, card, compare and trackers; without --run-dir its directory begins with it.
    null: as its directory."""
    model: ModelSettings
    data: DataSettings
    oracle: OracleSettings
    form: FormSettings = FormSettings()
    rounds: RoundSettings = RoundSettings()
    redteam: RedTeamSettings = RedTeamSettings()
    constitution: ConstitutionSettings = ConstitutionSettings()
    sampling: Sampling = Sampling()
    """How the target decodes when it answers."""
    revision: RevisionSettings = RevisionSettings()
    training: TrainingSettings = TrainingSettings()
    measure: MeasureSettings = MeasureSettings()
    lookahead: LookAheadSettings = LookAheadSettings()
    guard_rails: GuardRailSettings = GuardRailSettings()
    cluster: ClusterSettings = ClusterSettings()
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Seeds order, sampling, replay and training."""
    threads: int | None = Field(default=None, gt=0, le=4096)
    """CPU threads for torch; null measures for a second which number is fastest now, for models of 50 million parameters or
    more, and keeps to it when the run is resumed."""
    run_dir: Path | None = None
    """Where the run is kept; `--run-dir` overrides it."""

    @model_validator(mode="after")
    def _a_server_takes_adapters_only(self) -> "Settings":
        if self.model.engine == "served" and self.training.method == "full":
            raise ValueError("model.engine served can't be given full weights: set training.method to lora")
        return self

    @model_validator(mode="after")
    def _a_server_does_not_choose(self) -> "Settings":
        if self.model.engine == "served" and self.revision.best_of > 1:
            raise ValueError(
                "revision.best_of above 1 asks the target which revision it finds likeliest, and a server can't say: set "
                "it to 1, or model.engine to transformers or vllm"
            )
        return self

    @model_validator(mode="after")
    def _a_server_has_its_own_replicas(self) -> "Settings":
        if self.cluster.address is not None and self.model.engine == "served":
            raise ValueError(
                "cluster.address starts replicas of this model, and a server has replicas of its own: set it to null, or "
                "model.engine to transformers or vllm"
            )
        if self.cluster.tensor_parallel > 1 and self.model.engine != "vllm":
            raise ValueError("cluster.tensor_parallel above 1 is vLLM's: set model.engine to vllm")
        return self

    @model_validator(mode="after")
    def _training_has_one_place(self) -> "Settings":
        chosen = self.cluster
        if chosen.training_gpus is None:
            return self
        if chosen.address is None:
            raise ValueError(
                "cluster.training_gpus are Ray's to give: set cluster.address, or training.processes for this machine"
            )
        if self.training.processes > 1:
            raise ValueError(
                "training.processes are started here, and cluster.training_gpus where Ray has room: set one of them"
            )
        answering = chosen.replicas * chosen.tensor_parallel
        if chosen.colocate and chosen.training_gpus > answering:
            raise ValueError(
                f"cluster.training_gpus ({chosen.training_gpus}) take turns with the replicas, which have {answering}: raise "
                "cluster.replicas, or set cluster.colocate to false"
            )
        return self

    @property
    def training_processes(self) -> int:
        """How many train together, wherever they are."""
        return self.cluster.training_gpus or self.training.processes

    @property
    def trains_apart(self) -> bool:
        """Whether training has processes of its own."""
        return self.training.processes > 1 or self.cluster.training_gpus is not None

    @model_validator(mode="after")
    def _no_form_twice(self) -> "Settings":
        forms = (self.form.name, *self.redteam.forms)
        twice = next((form for form in forms if forms.count(form) > 1), None)
        if twice is not None:
            raise ValueError(f"redteam.forms are asked besides form.name, and {twice} is among them twice: take it out")
        return self

    @model_validator(mode="after")
    def _flash_takes_16_bits(self) -> "Settings":
        flash = (self.model.attention or "").startswith("flash")
        if flash and (self.training.method == "full" or self.model.dtype == "float32"):
            raise ValueError(
                "model.attention flash takes 16-bit weights, but full fine-tuning keeps float32: use lora and bfloat16"
            )
        return self


def load_settings(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Settings from a YAML file or a mapping, with `a.b=value` overrides (values are read as YAML).

    Paths in a file are relative to the working directory. Raises ConfigError naming file, key and the nearest known key.
    """
    name = "settings" if isinstance(source, Mapping) else str(source)
    values = dict(source) if isinstance(source, Mapping) else read_yaml(Path(source))
    values = with_new_keys(values)
    for override in overrides:
        values = with_new_keys(with_override(values, override))
    try:
        return Settings.model_validate(values, strict=False)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "\n".join(explain(item, Settings) for item in error.errors())) from error


def dump_settings(settings: Settings) -> str:
    """The settings as YAML that `load_settings` reads back equal."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


CHANGEABLE = (
    *(f"oracle.{name}" for name in ("token_budget", "cost_budget", "prices_file", "cache")),
    *(
        f"oracle.{role}.{name}"
        for role in ("judge", "proposer")
        for name in ("api_key_env", "concurrency", "timeout", "max_retries", "max_tokens", "reasoning_effort")
    ),
    *(f"training.{name}" for name in ("batch_size", "gradient_accumulation", "gradient_checkpointing")),
    "model.batch_size",
    "lookahead.rounds",
    "lookahead.wasted_verdicts",
    *(f"cluster.{name}" for name in ClusterSettings.model_fields),
    "threads",
    "name",
)
"""Settings that may change when a run is resumed: what it may cost, how fast it goes, what memory it needs, its name."""


def differing_keys(ours: Settings, theirs: Settings) -> dict[str, tuple[Any, Any]]:
    """`{"a.b": (our value, their value)}` for each setting that differs, but for where the run is kept."""
    left, right = (flat(item.model_dump(mode="json", exclude={"run_dir"})) for item in (ours, theirs))
    keys = [*left, *(key for key in right if key not in left)]
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}


def as_text(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """`a.b: old -> new; ...`"""
    return "; ".join(f"{key}: {old!r} -> {new!r}" for key, (old, new) in differences.items())
