"""Settings of the target: its weights, and what generates with them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from iteralign.settings.oracle import Address, VariableName
from iteralign.settings.section import Section


class VllmSettings(Section):
    """The engine vllm."""

    python: Path | None = None
    """The Python of an environment that has vLLM. null: this one."""
    memory: float | None = Field(default=None, gt=0, lt=1)
    """Share of the GPU's memory that the engine may take. null: as much as its weights and 256 answers at once need, within
    what is free. While the trainer works the engine sleeps."""


class ServedSettings(Section):
    """The engine served: a completions server that has the same model."""

    base_url: Address = "http://127.0.0.1:8000/v1"
    """The server's address."""
    base_urls: tuple[Address, ...] = ()
    """Where it spreads requests over several servers: the address of each, so that each is told of new adapters."""
    name: str | None = None
    """What the server calls the model. null: the path that it is loaded from here."""
    api_key_env: VariableName | None = None
    """Name of the environment variable that holds the key, where the server wants one."""
    concurrency: int = Field(default=64, gt=0, le=10_000)
    """Requests under way at once."""
    timeout: float = Field(default=600.0, gt=0, le=1_000_000)
    """Seconds for a request, all tries of it together."""
    max_retries: int = Field(default=4, ge=0, le=1_000_000)
    """Further tries after a failure that may pass: limits, overload, broken connections."""


class ModelSettings(Section):
    """The target: the model to be aligned."""

    path: str
    """A causal language model: a local directory, a hub id, a GGUF file (`x.gguf`, or `owner/name:x.gguf` on the hub), or
    `demo` for the model that ships with iteralign."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    device: str = "auto"
    """Where the model computes. auto takes cuda, then mps, then cpu."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights. auto takes bfloat16 where it is faster: on a GPU that has it, and on a CPU if a short
    measurement says so and the model has 50 million parameters or more; otherwise float32. Weights that are trained in
    full are float32. What generates takes this format all the same where it has weights of its own: with the engine vllm, and
    beside a training in several processes."""
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] | None = None
    """null takes the choice of transformers (sdpa). The flash kernels need their package and 16-bit weights; with them,
    training rows are packed without padding."""
    batch_size: Annotated[int, Field(gt=0, le=100_000)] | Literal["auto"] = "auto"
    """Prompts generated at once. It is halved by itself when memory runs out."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model's repository."""
    engine: Literal["transformers", "vllm", "served"] = "transformers"
    """What generates: transformers (in this process, with the trainer's own weights), vllm, or a server."""
    vllm: VllmSettings = VllmSettings()
    served: ServedSettings = ServedSettings()
