"""Settings: typed, documented under each field, saved so that they run again.

Loaded from YAML, overridden by `a.b=value`, checked strictly: an unknown key is an error that names the nearest known one.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from iteralign.errors import ConfigError
from iteralign.prompts.forms import FormName
from iteralign.records import Sampling
from iteralign.settings.constitution import ConstitutionSettings
from iteralign.settings.file import explain, flat, read_yaml, with_override
from iteralign.settings.oracle import Address, OracleSettings, VariableName
from iteralign.settings.section import LARGEST_SEED, Section


def _as_name(text: str) -> str:
    """A directory is called by it, a tracker's run and a line of a table."""
    told = len(text) <= 100 and len(text.encode()) <= 200 and text.strip() == text != "" and text[:1] not in ".-"
    if not told or not text.isprintable() or any(sign in text for sign in '/\\:*?"<>|'):
        raise ValueError(
            'must be 1 to 100 characters that a directory can be called by: no / \\ : * ? " < > | or line break, no '
            "dot, hyphen or space in front, no space at the end"
        )
    return text


class VllmSettings(Section):
    """The engine vllm."""

    python: Path | None = None
    """The Python of an environment that has vLLM, where this one has not."""
    memory: float = Field(default=0.45, gt=0, lt=1)
    """Share of the GPU's memory that the engine may take; the trainer needs room too, while the engine sleeps."""


class ServedSettings(Section):
    """The engine served: a completions server that has the same model."""

    base_url: Address = "http://127.0.0.1:8000/v1"
    """The server's address."""
    name: str | None = None
    """What the server calls the model; null: as `model.path`."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the key, where the server wants one."""
    concurrency: int = Field(default=64, gt=0, le=10_000)
    """Requests under way at once."""


class ModelSettings(Section):
    """The target: the model to be aligned."""

    path: str
    """A causal language model: a local directory, a hub id, a GGUF file (`x.gguf`, or `owner/name:x.gguf` on the hub), or
    `demo` for the model that ships with iteralign."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    device: str = "auto"
    """auto takes cuda, then mps, then cpu."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto takes bfloat16 where it is faster: on a GPU that has it; on a CPU if a short measurement says so and the model has
    50 million parameters or more. Else, and for weights that are trained in full, float32."""
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] | None = None
    """null takes what transformers does (sdpa). With one of the flash kernels, whose package must be installed and which take
    16-bit weights only, training rows are packed without padding."""
    batch_size: Annotated[int, Field(gt=0, le=100_000)] | Literal["auto"] = "auto"
    """Prompts generated at once; halved by itself when memory runs out."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model's repository."""
    engine: Literal["transformers", "vllm", "served"] = "transformers"
    """What generates: transformers (in this process, with the trainer's own weights), vllm, or a server."""
    vllm: VllmSettings = VllmSettings()
    served: ServedSettings = ServedSettings()


class DataSettings(Section):
    """The red-teaming prompts, and the benign ones that keep the model from learning to refuse."""

    prompts: str
    """hh-rlhf, harmfulqa, dangerousqa, hub:NAME, a file (JSONL, JSON, CSV, Parquet, text), or `demo`; `given` where they were
    handed over in Python."""
    path: Path | None = None
    """The local raw file of a named data set."""
    question_field: str | None = None
    """The column that holds the question, where it isn't found by itself."""
    turns: Literal["first", "last"] = "first"
    """For transcripts: the first human turn alone, or the conversation up to the last human turn."""
    limit: int | None = Field(default=None, gt=0)
    """Take at most this many prompts, after shuffling."""
    shuffle: bool = False
    """Seeded shuffle; without it the file's order is kept."""
    held_out: float = Field(default=0.2, ge=0, lt=1)
    """Share of the questions kept out of the loop to measure on; 0 measures nothing."""
    held_out_limit: int | None = Field(default=None, gt=0)
    """Measure on at most this many of the held-out questions, every category with its share."""
    benign: str | None = "demo"
    """Questions that a good model answers, same kinds of source; `demo` for the set that ships, null for none."""
    benign_path: Path | None = None
    """The local raw file of a named benign set."""
    benign_limit: int = Field(default=400, gt=0)
    """Take at most this many benign prompts."""
    benign_held_out: float = Field(default=0.4, ge=0, lt=1)
    """Share of the benign prompts kept for measuring refusals."""


class FormSettings(Section):
    """How a question becomes the text that the target continues."""

    name: FormName = "plain"
    """plain transcript, chat (the tokenizer's template), cot, cou, or file (your own)."""
    template_file: Path | None = None
    """For `file` (and `cou`): a text with {question} in it."""
    principles_file: Path | None = None
    """Replaces the text that puts principles beside the question: {question} and {principles}."""
    draft_file: Path | None = None
    """Replaces the text that asks for a rewritten draft: {question}, {draft} and {principles}."""
    critique_file: Path | None = None
    """Replaces the text that asks what is wrong with a draft: {question}, {draft} and {principles}."""
    critiqued_file: Path | None = None
    """Replaces the text that asks for a draft rewritten by its critique: {question}, {draft}, {critique}, {principles}."""


class RoundSettings(Section):
    """How prompts are grouped into rounds."""

    prompts: int = Field(default=20, gt=0)
    """Prompts per round (the released code: 20)."""
    min_failures: int = Field(default=1, gt=0)
    """Collect failures over rounds until there are this many, then propose, revise and train. 1: the paper."""
    limit: int | None = Field(default=None, gt=0)
    """Stop after this many rounds."""


class RevisionSettings(Section):
    """Constitution-induced self-reflection."""

    mode: Literal["block", "sequential", "critique"] = "block"
    """block: all principles at once (the released code); sequential: one after another, seeded random order (the paper);
    critique: the target first says what is wrong with its answer, then rewrites it."""
    max_principles: int = Field(default=6, gt=0)
    """Principles put into one context at most, the best fitting first."""
    tries: int = Field(default=3, gt=0, le=1000)
    """Tries per failure until a revision passes the second judgement; from the second on the answer is sampled."""
    temperature: float = Field(default=0.8, gt=0, le=100)
    """Temperature of those later tries."""
    best_of: int = Field(default=1, gt=0, le=1000)
    """Go on until this many revisions of a failure have passed (or the tries are used), and train on the one that the
    target itself finds likeliest without the principles. 1 takes the first that passes."""


class TrainingSettings(Section):
    """Supervised fine-tuning on (prompt without the constitution, verified revision)."""

    method: Literal["lora", "full"] = "lora"
    """lora trains adapters beside the weights, full all weights."""
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    """Its highest value. Full fine-tuning wants less, such as 2e-6."""
    epochs: int = Field(default=3, gt=0, le=10_000)
    """Times that a round's rows are gone through."""
    batch_size: int = Field(default=8, gt=0, le=100_000)
    """Rows per optimiser step and device, before accumulation."""
    gradient_accumulation: int = Field(default=1, gt=0, le=100_000)
    """Batches whose gradients are summed for one optimiser step."""
    max_length: int = Field(default=1024, gt=0, le=100_000_000)
    """Tokens of a row at most."""
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0, le=100)
    """AdamW's."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes on after that."""
    lora_r: int = Field(default=16, gt=0, le=100_000)
    """Rank of the adapters: their size, and what they can learn."""
    lora_alpha: int = Field(default=32, gt=0, le=10_000_000)
    """Weight of the adapters: they are scaled by lora_alpha / lora_r."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapters' inputs that is left out at each step."""
    gradient_checkpointing: bool = False
    """Compute activations again in place of keeping them: less memory, more time."""
    replay: float = Field(default=1.0, ge=0, le=1000)
    """Earlier rounds' pairs trained on again, as a share of this round's verified revisions ..."""
    min_replay: int = Field(default=16, ge=0)
    """... and at least this many, as far as there are any: late rounds have few failures, and would unlearn."""
    benign: float = Field(default=1.0, ge=0, le=1000)
    """Benign pairs (the base model's own answers), as a share of this round's verified revisions ..."""
    min_benign: int = Field(default=16, ge=0)
    """... and at least this many, as far as there are any."""
    processes: int = Field(default=1, gt=0, le=1024)
    """Above 1: training runs in this many processes of its own on this machine (FSDP on GPUs). Full weights only."""
    keep: Literal["all", "last"] = "last"
    """Which rounds' full weights stay on disk: of all, or of the last and the best. Adapters are always kept."""
    report_to: tuple[str, ...] = ()
    """Trackers: tensorboard (in RUN/tensorboard), wandb, mlflow, trackio: the scoreboard by round, the loss by step. The
    package must be installed; each tracker's own environment variables hold."""

    @field_validator("keep", mode="before")
    @classmethod
    def _none_is_no_more(cls, value: Any) -> Any:
        if value != "none":
            return value
        logging.getLogger(__name__).warning(
            "training.keep: none is no longer there, since resuming such a run trained its rounds again: last is taken."
        )
        return "last"


class LookAheadSettings(Section):
    """Answering the next rounds' prompts before their turn. Changes how long a run takes, not what it computes."""

    rounds: int = Field(default=32, gt=0, le=1_000_000)
    """Answer at most this many rounds at once; as many as have lately paid. 1 answers none ahead."""
    wasted_verdicts: float = Field(default=0.5, ge=0, lt=1)
    """Verdicts that may be bought in vain for answers ahead, as a share of all, were all that are under way in vain. None
    is bought ahead that is not twice as likely of use as in vain, as while rounds often fail, or at 0."""


class MeasureSettings(Section):
    """The held-out measurement: unacceptable answers, benign refusals and a capability check."""

    every: int = Field(default=1, gt=0)
    """Measure after every so many rounds that trained; the base model and the last round are always measured."""
    capability: str | None = "own"
    """What the model should still predict well after training. own: its answers, as they were before training, to harmless
    held-out questions; a text file: its paragraphs; null measures nothing."""


class GuardRailSettings(Section):
    """When a measured round's training is thrown away for the best weights so far, and when the run ends early. A rise
    counts where it is significant (McNemar's exact test; for capability a bootstrap interval) and the lower end of its 95%
    interval lies above the number here. null turns a rail off."""

    benign: float | None = Field(default=0.1, ge=0)
    """Refusals of benign prompts against the base model's, as a share: what fewer unacceptable answers may cost."""
    capability: float | None = Field(default=0.5, ge=0)
    """Loss in the capability check against the base model's, in nats per token (0.5: perplexity times 1.65)."""
    collapse: float | None = Field(default=0.2, ge=0)
    """Degenerate answers, and benign prompts that all get one answer, against the base model's."""
    unacceptable: float | None = Field(default=0.0, ge=0)
    """Unacceptable held-out answers against the best weights so far: unlearning."""
    patience: int | None = Field(default=None, gt=0)
    """End the run when so many measured rounds in a row showed no improvement; null goes through all prompts."""


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
    constitution: ConstitutionSettings = ConstitutionSettings()
    sampling: Sampling = Sampling()
    """How the target decodes when it answers."""
    revision: RevisionSettings = RevisionSettings()
    training: TrainingSettings = TrainingSettings()
    measure: MeasureSettings = MeasureSettings()
    lookahead: LookAheadSettings = LookAheadSettings()
    guard_rails: GuardRailSettings = GuardRailSettings()
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
    def _flash_takes_16_bits(self) -> "Settings":
        flash = (self.model.attention or "").startswith("flash")
        if flash and (self.training.method == "full" or self.model.dtype == "float32"):
            raise ValueError(
                "model.attention flash takes 16-bit weights, but full fine-tuning keeps float32: use lora and bfloat16"
            )
        return self

    @model_validator(mode="after")
    def _processes_train_full_weights(self) -> "Settings":
        if self.training.processes > 1 and self.training.method != "full":
            raise ValueError("training.processes above 1 trains full weights: set training.method to full")
        return self


def load_settings(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Settings from a YAML file or a mapping, with `a.b=value` overrides (values are read as YAML).

    Paths in a file are relative to the working directory. Raises ConfigError naming file, key and the nearest known key.
    """
    name = "settings" if isinstance(source, Mapping) else str(source)
    values = dict(source) if isinstance(source, Mapping) else read_yaml(Path(source))
    for override in overrides:
        values = with_override(values, override)
    try:
        return Settings.model_validate(values, strict=False)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "\n".join(explain(item, Settings) for item in error.errors())) from error


def dump_settings(settings: Settings) -> str:
    """The settings as YAML that `load_settings` reads back equal."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


CHANGEABLE = (
    *(f"oracle.{name}" for name in ("max_tokens", "max_cost", "prices_file", "cache")),
    *(
        f"oracle.{role}.{name}"
        for role in ("judge", "proposer")
        for name in ("api_key_env", "concurrency", "timeout", "max_retries", "max_tokens", "reasoning_effort")
    ),
    *(f"training.{name}" for name in ("batch_size", "gradient_accumulation", "gradient_checkpointing")),
    "model.batch_size",
    "lookahead.rounds",
    "lookahead.wasted_verdicts",
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
