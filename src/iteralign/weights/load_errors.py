"""What an error of transformers' `from_pretrained` means, and what to do about it."""

from pathlib import Path

from iteralign.errors import TargetError


def cannot_load(error: Exception, source: str, what: str) -> TargetError:
    """The error of a `from_pretrained` as a message that says what to do."""
    text = str(error)
    path = Path(source).expanduser()
    if "trust_remote_code" in text:
        advice = (
            "It needs Python code of its own, which iteralign runs only when asked to: read that code, then set "
            "trust_remote_code."
        )
    elif path.is_dir() and not (path / "config.json").is_file():
        advice = "The directory has no config.json, so it is no Hugging Face model."
    elif path.is_dir() and what == "model" and not any(path.glob("*.safetensors")):
        advice = (
            "It has no weights in safetensors format. Other formats (.bin, .pt) are pickles, which can run any "
            "code when loaded; convert them: load once with transformers and save_pretrained."
        )
    elif not path.exists() and (source.startswith((".", "/", "~")) or source.count("/") > 1):
        advice = "There is no such directory."
    elif not path.exists():
        advice = (
            "Not a directory here, and not to be had from the Hugging Face hub: check the name, the network, and "
            f"for a gated model your access (hf auth login). The hub's answer: {first_line(error)}"
        )
    else:
        advice = first_line(error)
    return TargetError(f"Can't load the {what} {source}. {advice}")


def first_line(error: Exception) -> str:
    """The gist of an error's text."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
