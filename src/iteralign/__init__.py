"""Data-driven constitution discovery and iterative self-alignment of language models."""

__version__ = "0.1.0"
