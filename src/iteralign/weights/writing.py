"""From a model in memory to files that AutoModelForCausalLM, AutoTokenizer and peft load: safetensors, nothing else."""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_model(network: Any, tokenizer: Any, directory: Path, state: dict[str, Any] | None = None) -> None:
    """Save model and tokenizer.

    `state` holds the weights by name where they are not the network's own.
    """
    directory.mkdir(parents=True, exist_ok=True)
    own = network.generation_config
    try:
        network.save_pretrained(str(directory), state_dict=state)
    except ValueError:
        network.generation_config = _sampling(own)
        network.save_pretrained(str(directory), state_dict=state)
    finally:
        network.generation_config = own
    tokenizer.save_pretrained(str(directory))


def save_generation_config(network: Any, directory: Path) -> None:
    """The model's own settings for generating, as `write_model` saves them."""
    try:
        network.generation_config.save_pretrained(str(directory))
    except ValueError:
        _sampling(network.generation_config).save_pretrained(str(directory))


def _sampling(generation_config: Any) -> Any:
    """Some released models name a temperature without sampling, which transformers loads but won't save."""
    changed = copy.deepcopy(generation_config)
    changed.do_sample = True
    return changed


def write_adapter(adapter: Any, directory: Path) -> None:
    """Save an adapter alone; equal ones as equal files."""
    # Its own weights alone: beside a base that is shared out peft would gather that too, for which all processes are needed.
    own = {name: value for name, value in adapter.state_dict().items() if "lora_" in name}
    # Without False peft asks the hub for the base model's vocabulary size.
    adapter.save_pretrained(str(directory), save_embedding_layers=False, state_dict=own)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # peft writes this set in an order that differs from process to process
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def not_finite(weights: Iterable[tuple[str, Any]]) -> str | None:
    """The name of the first of these (name, tensor) that is not finite everywhere."""
    import torch

    return next((name for name, value in weights if not bool(torch.isfinite(value).all())), None)
