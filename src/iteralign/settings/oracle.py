"""Settings of the oracle: endpoints, guard models, texts, budgets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from iteralign.settings.calibration import Calibration
from iteralign.settings.section import Section

LOCAL = "local"
"""In the place of an address: in this process."""


def _usable(url: str) -> str:
    if "api-version=" in url or "/openai/deployments/" in url:
        raise ValueError(
            "is the older form of Azure's addresses; give its v1 endpoint, https://NAME.openai.azure.com/openai/v1/, and "
            "the deployment's name as model"
        )
    if any(sign in url for sign in "@?#"):
        raise ValueError("must be an address alone: keys and passwords belong into the environment")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        usable = False
    if not usable:
        raise ValueError("must look like http://host:port/v1")
    return url


Address = Annotated[str, AfterValidator(_usable)]
AddressOrLocal = Annotated[str, AfterValidator(lambda url: url if url == LOCAL else _usable(url))]
FileOrContent = Annotated[
    Annotated[Path, Tag("file")] | Annotated[Calibration, Tag("content")],
    Discriminator(lambda value: "content" if isinstance(value, Mapping | Calibration) else "file"),
]
VariableName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class EndpointSettings(Section):
    """One OpenAI-compatible endpoint."""

    model: str
    """The name that the endpoint knows it by; of a local one a directory, a hub id or a GGUF file."""
    base_url: AddressOrLocal | None = None
    """Like http://127.0.0.1:8000/v1. null takes what OPENAI_BASE_URL says when the run starts, and else OpenAI's own.
    local loads the model into this process, through transformers."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the key; the key itself never stands in a settings file. null takes
    OPENAI_API_KEY, which goes to OpenAI and to the address in OPENAI_BASE_URL and nowhere else."""
    max_tokens: int = Field(default=1024, gt=0, le=100_000_000)
    """Tokens of one reply at most. A reasoning model's thoughts are among them."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    """How much a reasoning model is to think. null says nothing of it, since many endpoints don't know it."""
    concurrency: int = Field(default=8, gt=0, le=10_000)
    """Calls under way at once."""
    timeout: float = Field(default=60.0, gt=0, le=1_000_000)
    """Seconds for one try of a call. A local model on a CPU may need minutes."""
    connect_timeout: float = Field(default=10.0, gt=0, le=1_000_000)
    """Seconds to get a connection."""
    max_retries: int = Field(default=6, ge=0, le=1_000_000)
    """Further tries after a failure that may pass: limits, overload, broken connections."""
    retry_seconds: float = Field(default=600.0, gt=0, le=10_000_000)
    """Seconds for all tries of a call together. A server that is down for less is waited for."""


class JudgeSettings(EndpointSettings):
    """The endpoint that judges, and how it is asked."""

    method: Literal["verdict", "probability"] = "verdict"
    """verdict: the judge writes its reasons and a verdict. probability: it is asked one question, and the probability of
    Yes as the first token of its reply decides; the endpoint must tell log-probabilities (llama-server, vLLM, OpenAI)."""
    calibration: FileOrContent | None = None
    """For `probability`: the file of `iteralign judge-check --calibrate`, which turns the model's probabilities into those
    of people's labels. A run's settings hold its content. null takes the model's own."""


class GuardSettings(Section):
    """A guard model as judge, loaded here or behind an OpenAI-compatible server."""

    family: Literal["llama-guard", "qwen3guard", "wildguard", "shieldgemma", "harmbench", "gpt-oss-safeguard"]
    """Whose protocol is spoken; llama-guard is version 3 or 4."""
    model: str
    """A local directory or hub id, or the served model's name."""
    base_url: Address | None = None
    """Like http://127.0.0.1:8000/v1. null loads the model here, through transformers."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the server's key; null: as of the judge."""
    concurrency: int = Field(default=8, gt=0, le=10_000)
    """Calls of a server under way at once."""
    timeout: float = Field(default=60.0, gt=0, le=1_000_000)
    """Seconds for one try of a call."""
    policy: Path | None = None
    """For gpt-oss-safeguard: a run's constitution.yaml, or a policy of your own that asks for the same JSON object."""
    device: str = "auto"
    """Device of a model that is loaded here."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of a model that is loaded here."""

    @property
    def endpoint(self) -> EndpointSettings:
        """Of a guard behind a server."""
        return EndpointSettings(
            model=self.model,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            concurrency=self.concurrency,
            timeout=self.timeout,
        )


class OracleSettings(Section):
    """Who judges and who proposes."""

    kind: Literal["rules", "openai"] = "openai"
    """rules: the transparent stand-in for trying the pipeline; openai: any OpenAI-compatible endpoint."""
    judge: JudgeSettings | None = None
    """Who judges answers; must be given where `kind` is openai."""
    panel: tuple[EndpointSettings, ...] = ()
    """Judges beside `judge`. All are asked about every answer. More than half must agree; a split gives `undetermined`."""
    proposer: EndpointSettings | None = None
    """null: the judge's endpoint proposes too."""
    proposals: Literal["rules", "parts"] = "rules"
    """rules: the proposer reads a group of failures and writes rules in its own words. parts: it is asked about one failure
    at a time what somebody wished for and who would be hurt, and rules are put together out of that. For models of one or
    two billion parameters, and for harmful answers alone."""
    guards: tuple[GuardSettings, ...] = ()
    """Guard models that judge in the place of `judge`. More than half must agree; a split gives `undetermined`."""
    guards_and_judge: bool = False
    """The oracle's own judge has a vote beside the guards."""
    votes: int = Field(default=1, gt=0, le=1000)
    """Judgements per answer of each judge. More than half must agree; a split gives `undetermined`."""
    texts: Path | dict[str, Path] | None = None
    """Texts of your own in place of ours (docs/extending.md): a directory that has them under our names, such as judge.txt, or
    a file for each by its name."""
    max_principles: int = Field(default=4, gt=0)
    """Principles proposed at once at most, for up to 16 failures."""
    max_characters: int = Field(default=12_000, ge=1000)
    """Characters of failures in one request to the proposer at most. A model with a short context wants fewer."""
    cache: bool = True
    """Share replies by content with other runs. false keeps them in RUN/oracle, where only this run's resume reads them."""
    token_budget: int | None = Field(default=None, gt=0)
    """Stop (resumably) when the run's calls have used this many tokens."""
    cost_budget: float | None = Field(default=None, gt=0)
    """Stop (resumably) when the run's calls have cost this much, in the price table's currency."""
    prices_file: Path | None = None
    """Replaces the price table: prices by endpoint and model, or by model alone (docs/oracles.md)."""

    @property
    def judge_names(self) -> tuple[str, ...]:
        """Who judges by these settings: the models, or `rules`. What was judged says itself by whom."""
        own = (
            [one.model for one in (self.judge, *self.panel) if one is not None] if self.kind == "openai" else ["rules"]
        )
        guards = [guard.model for guard in self.guards]
        return tuple([*guards, *own] if not guards or self.guards_and_judge else guards)

    @model_validator(mode="after")
    def _judge_is_given(self) -> "OracleSettings":
        if self.kind == "openai" and self.judge is None:
            raise ValueError("oracle.kind is openai, so oracle.judge.model must be given")
        judges = [(one.model, one.base_url) for one in (self.judge, *self.panel) if one is not None]
        if len(set(judges)) < len(judges):
            raise ValueError("oracle.panel names a judge twice; raise oracle.votes to ask a judge more than once")
        if self.judge is not None and self.judge.method == "probability" and (self.panel or self.votes > 1):
            raise ValueError(
                "oracle.judge.method is probability, which neither a panel nor votes go with: leave them out"
            )
        if self.judge is not None and self.judge.method == "verdict" and self.judge.calibration is not None:
            raise ValueError("oracle.judge.calibration is for method: probability; a verdict has no threshold")
        return self
