"""What the machine computes fastest: measured for a moment, since neither a processor's name nor its flags tell.

The same flag means twice the speed of float32 on one processor and none on the next, and two threads on a machine with other
work are slower than one: they wait for each other.
"""

import functools
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

GAIN = 1.3
"""Times as fast as float32 that bfloat16 must be to be taken for its smaller precision."""
_WORTH = 1.1
"""Times as fast that more threads must be: they take cores from others."""
_ROWS = 16
_PROBE_SECONDS = 0.06
_ROUNDS = 4
_GPUS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, of AMD, and of either below Windows."""
_QUOTAS = ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us")


def surely_a_cpu() -> bool:
    """Whether no GPU can be here, as far as can be told without torch, which takes seconds to import."""
    there = any(Path(device).exists() for device in _GPUS)
    return "torch" not in sys.modules and sys.platform == "linux" and not there


@functools.cache
def fast_bfloat16(device: str) -> bool:
    """Whether multiplying in bfloat16 is at least GAIN times as fast as in float32 on this device."""
    import torch

    if device == "cuda":
        # Where it computes on other machines: those that train have it.
        return not torch.cuda.is_available() or bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and _seconds(torch.float32) > GAIN * _seconds(torch.bfloat16)


def best_threads(width: int, inner: int, dtype: Any) -> int:
    """How many of torch's threads are fastest now for layers from `width` to `inner` features; about a second."""
    import torch

    before = torch.get_num_threads()
    counts = thread_counts(min(before, available_cores()))
    try:
        speeds = dict.fromkeys(counts, 0.0)
        for _ in range(_ROUNDS if len(counts) > 1 else 0):
            for count in counts:  # in turn, so that other work on the machine disturbs all of them
                torch.set_num_threads(count)
                speeds[count] += _speed(width, inner, dtype)
    finally:
        torch.set_num_threads(before)
    return fastest(speeds)


def fastest(speeds: dict[int, float]) -> int:
    """The number of threads to take: more only where they are _WORTH it."""
    best = min(speeds)
    for count in sorted(speeds):
        if speeds[count] > _WORTH * speeds[best]:
            best = count
    return best


def thread_counts(most: int) -> list[int]:
    """What to try: `most`, its half, and so on down to 1."""
    counts = [most]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


def available_cores() -> int:
    """Cores that this process may use: by its affinity, and by a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota_of(_contents(files)) for files in _QUOTAS]
    return max(1, min([cores, *(quota for quota in quotas if quota is not None)]))


def quota_of(text: str) -> int | None:
    """Cores that a control group's `QUOTA PERIOD` allows, rounded up; None for no limit."""
    quota, _, period = text.strip().partition(" ")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return math.ceil(int(quota) / int(period))


def _contents(files: str) -> str:
    """The files' texts behind each other; empty if one is missing."""
    try:
        return " ".join(Path(file).read_text().strip() for file in files.split())
    except OSError:
        return ""


def _layer(width: int, inner: int, dtype: Any) -> tuple[Any, Any]:
    import torch

    return torch.ones(_ROWS, width, dtype=dtype), torch.ones(inner, width, dtype=dtype)


def _seconds(dtype: Any) -> float:
    """Of the processor, for a fixed amount of work on one thread; the best of several times."""
    import torch

    rows, weight = _layer(1024, 4096, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = math.inf
        for _ in range(_ROUNDS):
            start = time.process_time()
            for _ in range(10):
                torch.nn.functional.linear(rows, weight)
            best = min(best, time.process_time() - start)
    finally:
        torch.set_num_threads(before)
    return best


def _speed(width: int, inner: int, dtype: Any) -> float:
    """Layers a second by the clock, with the threads that are set."""
    import torch

    rows, weight = _layer(width, inner, dtype)
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < _PROBE_SECONDS:
        torch.nn.functional.linear(rows, weight)
        done += 1
    return done / passed
