"""A model whose weights several processes share out among themselves: checked and written without any of them holding it whole.

All processes of the group call these together.
"""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iteralign.weights.writing import not_finite, save_generation_config

_FILE = "1GB"
"""Of weights at most, which the process that writes them holds at once."""


def shared_out(processes: int, device: str) -> Any:
    """transformers' DistributedConfig, by which each process reads and keeps its part. On GPUs it multiplies in bfloat16."""
    from transformers.distributed import DistributedConfig

    return DistributedConfig(fsdp_size=processes, fsdp_mixed_precision=device != "cpu")


def not_finite_anywhere(weights: Iterable[tuple[str, Any]]) -> str | None:
    """The name of a weight that is not finite in some process's part, the same in all of them."""
    import torch
    from torch.distributed.tensor import DTensor

    own = not_finite((name, value.to_local() if isinstance(value, DTensor) else value) for name, value in weights)
    found: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return next((name for name in found if name is not None), None)


def average_gradients(parameters: Iterable[Any]) -> None:
    """Have each process's gradients of these whole weights, which nothing shares out, become the mean of all. What has been
    averaged before, as with accumulated gradients, is its own mean."""
    import torch

    count = torch.distributed.get_world_size()

    def averaged(parameter: Any) -> None:
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad.div_(count)

    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(averaged)


def write_shared(network: Any, tokenizer: Any, directory: Path | None) -> None:
    """Save model and tokenizer, file by file, adapters in it merged; the process that is given the directory writes."""
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file
    from torch.distributed.tensor import DTensor

    tied = set(network.all_tied_weights_keys)
    whole_names = ((name.replace(".base_layer.", "."), value) for name, value in network.state_dict().items())
    state = {name: value for name, value in whole_names if name not in tied and ".lora_" not in name}
    added = _adapters(network)
    sizes = {name: torch.empty(value.shape, dtype=value.dtype, device="meta") for name, value in state.items()}
    split = split_torch_state_dict_into_shards(
        sizes, filename_pattern="model{suffix}.safetensors", max_shard_size=_FILE
    )
    for file, names in split.filename_to_tensors.items():
        held: dict[str, Any] = {}
        for name in names:
            whole = state[name].full_tensor() if isinstance(state[name], DTensor) else state[name]
            if directory is not None:
                held[name] = _merged(whole.detach(), added.get(name)).cpu().contiguous()
            del whole
        if directory is not None:
            save_file(held, directory / file, metadata={"format": "pt"})
    if directory is None:
        return
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (directory / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    config = copy.deepcopy(network.config)
    vars(config).pop("distributed_config", None)
    config.dtype = str(network.dtype).removeprefix("torch.")
    config.architectures = [type(network).__name__.removeprefix("FSDP")]
    config.save_pretrained(str(directory))
    save_generation_config(network, directory)
    tokenizer.save_pretrained(str(directory))


def _adapters(network: Any) -> dict[str, Any]:
    """peft's layers in it, by the name of the weight that each is added to."""
    from peft.tuners.lora import LoraLayer

    return {f"{name}.weight": layer for name, layer in network.named_modules() if isinstance(layer, LoraLayer)}


def _merged(whole: Any, layer: Any) -> Any:
    """As peft merges."""
    import torch

    if layer is None:
        return whole
    with torch.no_grad():
        delta: Any = sum(layer.get_delta_weight(name) for name in layer.active_adapters)
        return whole.clone().add_(delta)
