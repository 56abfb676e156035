"""What a training must leave as it was: the resident model but for its weights, and the process's time."""

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CONFIG_FIELDS = ("use_cache", "bos_token_id", "eos_token_id", "pad_token_id")


@contextmanager
def collecting_only_new_objects() -> Iterator[None]:
    """Spare what exists already from garbage collection, which transformers' trainer begins with.

    Looking through all that torch and trl consist of takes longer than setting the trainer up.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def restored(trainee: Any) -> Iterator[None]:
    """Undo what trl, transformers and accelerate leave on a model besides its weights.

    They replace `forward` (round by round one more layer of it) and write the tokenizer's special tokens into the
    configuration, where a pad token freezes its embedding once the checkpoint is loaded again.
    """
    network = trainee.get_base_model() if hasattr(trainee, "get_base_model") else trainee
    modules = [network] if network is trainee else [network, trainee]
    before = [{name: vars(module).get(name) for name in ("forward", "_original_forward")} for module in modules]
    config = {name: getattr(network.config, name, None) for name in _CONFIG_FIELDS}
    generation = copy.deepcopy(network.generation_config)
    try:
        yield
    finally:
        for module, attributes in zip(modules, before, strict=True):
            for name, value in attributes.items():
                vars(module).pop(name, None)
                if value is not None:
                    vars(module)[name] = value
        for name, value in config.items():
            setattr(network.config, name, value)
        network.generation_config = generation
        if network.is_activation_checkpointing:
            network.activation_checkpointing_disable()
            if network is not trainee:
                network.disable_input_require_grads()
        trainee.zero_grad(set_to_none=True)
        trainee.eval()
