"""What takes a look at all of a large run, done in a process of its own: the server goes on, and the memory is given back."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from iteralign import layout

P = ParamSpec("P")
T = TypeVar("T")

_LARGE = 1_000_000
"""Bytes of a run's prompts from which on that is worth a second for the process."""


def for_all_of(run: Path, make: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What `make` returns, with what it raises; a function of a module, which a process can be told of."""
    if not _is_large(run):
        return make(*args, **named)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(make, *args, **named).result()


def _is_large(run: Path) -> bool:
    try:
        return (run / layout.begun_with(layout.PROMPTS)).stat().st_size > _LARGE
    except OSError:
        return False
