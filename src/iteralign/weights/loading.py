"""From files to a model in memory, on the CPU: checked first, and refused where anything would be random or left out."""

from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.weights.files import ModelFiles
from iteralign.weights.load_errors import cannot_load, first_line
from iteralign.weights.tensors import check_directory, quiet_transformers, refuse_strays, tensor_shapes


def read_network(files: ModelFiles, trained: Path | None, dtype: str, attention: str | None, shares: Any = None) -> Any:
    """The PreTrainedModel of the base weights, or of full ones `trained` from them; with `shares` (shared_out) this process's
    part of it, where it is to be."""
    import torch
    import transformers

    bars: Any = transformers.utils.logging
    bars.disable_progress_bar()  # the run has its own
    source = files.weights_in if trained is None else str(trained)
    check_directory(Path(source).expanduser())
    try:
        network, found = transformers.AutoModelForCausalLM.from_pretrained(
            source,
            revision=files.revision if trained is None else None,
            trust_remote_code=files.trust_remote_code,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            use_safetensors=True,  # .bin files are pickles
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
            **({} if shares is None else {"distributed_config": shares}),
        )
    except Exception as error:
        raise cannot_load(error, files.name_or_path if trained is None else source, "model") from error
    refuse_strays(source, found, files.is_part)
    _check_fit(files, network)
    # peft names the base of an adapter by these.
    network.name_or_path = network.config.name_or_path = files.name_or_path
    return network


def read_adapter(network: Any, path: Path) -> Any:
    """The PeftModel of a base model and the adapter in `path`, which goes on being trained."""
    import peft

    if not (path / "adapter_model.safetensors").is_file():
        raise TargetError(f"{path} holds no adapter_model.safetensors. Restore it from a copy.")
    try:
        return peft.PeftModel.from_pretrained(network, str(path), is_trainable=True)
    except Exception as error:
        raise TargetError(
            f"The adapter in {path} does not load onto {network.name_or_path}: {first_line(error)}\n"
            "Was it trained from another base model?"
        ) from error


def check_tensors(files: ModelFiles) -> None:
    """Raises TargetError where a directory's tensors, by name and shape, aren't those of the model. No weights are read.

    Of a hub id and of a GGUF file loading them tells.
    """
    directory = Path(files.name_or_path).expanduser()
    tensors = tensor_shapes(directory) if directory.is_dir() else {}
    network = files.empty_network() if tensors else None
    if network is None or hasattr(network.config, "quantization_config"):
        return
    with quiet_transformers():
        try:
            _, found = type(network).from_pretrained(
                None,
                config=network.config,
                state_dict=tensors,
                device_map="meta",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise cannot_load(error, files.name_or_path, "model") from error
    refuse_strays(files.name_or_path, found, files.is_part)


def _check_fit(files: ModelFiles, network: Any) -> None:
    rows = network.get_input_embeddings().weight.shape[0]
    highest = max(files.tokenizer.get_vocab().values())
    if highest >= rows:
        raise TargetError(
            f"The tokenizer of {files.name_or_path} does not fit the model: it has token id {highest}, the model "
            f"embeds {rows} tokens. Use the tokenizer that the model was trained with, or resize the model's "
            "embeddings and save it again."
        )
