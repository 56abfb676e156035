"""What a process holds that trains together with others, and what a later round of the same processes takes.

    python benchmarks/sharded.py [--hidden 512] [--layers 8] [--processes 2] [-o results.json]

A random Llama in full weights and with an adapter, two rounds each on a CPU: with the weights shared out, and with a copy in
each process. Told are the peak memory of the largest process (beyond what one takes that has only imported everything), the
bytes of the model in float32, and the seconds of both rounds, of which the first starts the processes.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import scene


def peak(processes: list[int]) -> float:
    """MB of the process that has taken most."""
    lines = [Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines() for pid in processes]
    return max(int(line.split()[1]) for status in lines for line in status if line.startswith("VmHWM")) / 1024


def rounds(model_path: Path, place: Path, method: Any, sharded: bool, processes: int) -> dict[str, Any]:
    """Two rounds of one way."""
    import psutil

    from iteralign.records import TrainingExample
    from iteralign.settings.training import TrainingSettings
    from iteralign.trainers.distributed import DistributedTrainer
    from iteralign.trainers.local_group import LocalGroup
    from iteralign.weights.model import LocalModel

    model = LocalModel(str(model_path), root=place, device="cpu")
    settings = TrainingSettings(method=method, processes=processes, sharded=sharded, epochs=1, batch_size=1)
    trainer = DistributedTrainer(model, settings, 0, LocalGroup(settings.processes, "cpu"))
    examples = [
        TrainingExample(prompt=f"Question {n}?", completion=" No.", kind="revision", prompt_id=str(n), round=0)
        for n in range(2 * processes)
    ]
    start, seconds = model.base, []
    for number in range(2):
        begin = time.perf_counter()
        start = trainer.finetune(start, examples, place / f"{number}", number)
        seconds.append(time.perf_counter() - begin)
    workers = [one.pid for one in psutil.Process().children() if "iteralign.trainers.worker" in one.cmdline()]
    found = {"method": method, "sharded": sharded, "peak_mb": peak(workers), "seconds": seconds}
    trainer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        small, large = (
            scene.write_model(place / "small", hidden=64, layers=1),
            scene.write_model(place / "large", hidden=given.hidden, layers=given.layers),
        )
        size = (large / "model.safetensors").stat().st_size / 1e6
        least = rounds(small, place / "least", "full", True, given.processes)["peak_mb"]
        print(
            f"{given.processes} processes, a model of {size:.0f} MB in float32; {least:.0f} MB without it", flush=True
        )
        ways = []
        for method, sharded in (("full", True), ("full", False), ("lora", True), ("lora", False)):
            one = rounds(large, place / f"{method}-{sharded}", method, sharded, given.processes)
            one["beyond_mb"] = one["peak_mb"] - least
            ways.append(one)
            what = "shared out" if sharded else "a copy each"
            first, later = one["seconds"]
            print(
                f"{method:5} {what:12} {one['beyond_mb']:6.0f} MB more; rounds {first:.1f} s, {later:.1f} s", flush=True
            )
    if given.output is not None:
        record = {"model_mb": size, "processes": given.processes, "ways": ways, "surroundings": scene.surroundings()}
        given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
