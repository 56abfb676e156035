"""A machine of GPUs that do nothing but sleep as long as the work would take: for benchmarks/simulated_cluster.py.

What work takes is arithmetic over a `Machine`: `answer_seconds`, `training_seconds` and others. `Sleeper` is a replica of the
target, `SleepingOracle` and `SleepingTrainer` are the other two seams. Each process writes down what its GPUs did.
"""

import hashlib
import json
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iteralign.errors import TrainingError
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTrainer
from iteralign.interfaces import Target, never
from iteralign.records import (
    Checkpoint,
    Generation,
    Label,
    Principle,
    Response,
    Sampling,
    TrainingExample,
    Verdict,
)

HARMLESS = "bread"
"""A word of every harmless question, which is always answered well."""
_SLICE = 0.02  # seconds between two looks at whether to stop


def _given(default: Any, says: str) -> Any:
    return field(default=default, metadata={"says": says})


@dataclass(frozen=True)
class Machine:
    """GPUs, model and oracle. Seconds are those of the machine, which the simulation divides by `speed`."""

    gpus: int = _given(8, "GPUs in all")
    on_gpus: bool = _given(True, "--no-on-gpus: `gpus` are processes of a CPU, as in a measured small case")
    parameters: float = _given(7e9, "of the model")
    tensor_parallel: int = _given(1, "GPUs of a replica")
    training_gpus: int = _given(8, "GPUs that train")
    full: bool = _given(True, "full weights are trained (--no-full: LoRA)")
    failing: Sequence[float] = _given((1 / 3,), "share of the prompts that fail, by round; the last holds on")
    mended: float = _given(0.8, "share of the answers under principles that pass")
    principles: int = _given(3, "in a proposal")
    tokens: float = _given(250.0, "of an answer that goes along, mean")
    declining: float = _given(0.5, "tokens of one that declines, as a share of that")
    harmless: float = _given(1.0, "tokens of an answer to a harmless question, as a share of it")
    spread: float = _given(0.6, "standard deviation of an answer's tokens, as a share of the mean")
    most_tokens: int = _given(512, "of an answer, at most")
    prompt_tokens: float = _given(100.0, "of a prompt")
    step: float | None = _given(None, "seconds of a decode step of one answer; none: weights / memory bandwidth")
    slope: float | None = _given(None, "seconds that a further answer adds to it; none: twice its multiplications")
    rows: int = _given(256, "answers that a replica decodes at once")
    waits: bool = _given(
        False, "an answer that is finished keeps its row until the longest is (no continuous batching)"
    )
    peak: float = _given(989e12, "FLOP/s of a GPU")
    mfu: float = _given(0.4, "share of the peak that training and reading prompts reach")
    memory_bandwidth: float = _given(2e12, "bytes/s of a GPU that decoding reaches")
    bandwidth: float = _given(2e9, "bytes/s at which a replica reads new weights, and the trainer writes them")
    host_bandwidth: float = _given(2e10, "bytes/s between a GPU and the machine's memory (sleep and wake)")
    epochs: int = _given(3, "of a training")
    train_token: float | None = _given(None, "seconds of a trained token; none: by peak and mfu")
    train_setup: float = _given(5.0, "seconds of a training beside its tokens")
    verdict: float = _given(1.0, "seconds of a verdict")
    proposal: float = _given(10.0, "seconds of a proposal")
    rate: float = _given(200.0, "calls of the oracle a second, at most")
    concurrency: int = _given(512, "calls of the oracle at once, at most")
    between_faults: float | None = _given(None, "mean seconds between two faults of one GPU; none: there are none")
    start: float = _given(90.0, "seconds until a lost replica, or a run that was stopped, is back")

    @property
    def replicas(self) -> int:
        """Copies of the model that answer."""
        return self.gpus // self.tensor_parallel

    @property
    def weight_bytes(self) -> float:
        """In bfloat16."""
        return 2 * self.parameters

    @property
    def step_seconds(self) -> float:
        """Of a decode step of one answer."""
        given = self.weight_bytes / self.tensor_parallel / self.memory_bandwidth
        return given if self.step is None else self.step

    @property
    def slope_seconds(self) -> float:
        """That each answer adds to a decode step."""
        given = 2 * 2 * self.parameters / (self.tensor_parallel * self.peak * self.mfu)
        return given if self.slope is None else self.slope

    def answer_seconds(self, lengths: Sequence[int]) -> float:
        """Of a replica, for answers of so many tokens: a step is as long as its answers are many."""
        seconds = 0.0
        reading = 2 * self.parameters * self.prompt_tokens / (self.tensor_parallel * self.peak * self.mfu)
        for begin in range(0, len(lengths), self.rows):
            batch = lengths[begin : begin + self.rows]
            decoded = max(batch) * len(batch) if self.waits else sum(batch)
            seconds += max(batch) * self.step_seconds + decoded * self.slope_seconds + len(batch) * reading
        return seconds

    def training_seconds(self, rows: int) -> float:
        """Of a training on so many examples, until its weights are written."""
        work = (6 if self.full else 4) * self.parameters  # frozen weights get no gradient
        token = work / (self.training_gpus * self.peak * self.mfu) if self.train_token is None else self.train_token
        tokens = rows * (self.prompt_tokens + self.declining * self.tokens) * self.epochs
        return self.train_setup + tokens * token + self.new_bytes / self.bandwidth

    @property
    def new_bytes(self) -> float:
        """Of the weights that a training writes and each replica reads."""
        return self.weight_bytes * (1.0 if self.full else 0.005)

    @property
    def wake_seconds(self) -> float:
        """Until a replica has given its GPUs back, or has them again."""
        return self.weight_bytes / self.tensor_parallel / self.host_bandwidth


class Log:
    """What the GPUs of one process did: a line for each piece of work, with the time of day when it began."""

    def __init__(self, directory: Path, speed: float) -> None:
        self.path = directory / f"{os.getpid()}.jsonl"
        self.speed = speed

    def work(
        self, what: str, seconds: float, gpus: int, stop: Callable[[], bool] = never, due: float = math.inf
    ) -> bool:
        """Take `seconds` of the machine's time, at most until `stop`; dies at `due`. Whether all of it was done."""
        begin = time.time()
        end = begin + seconds / self.speed
        while (now := time.time()) < end and not stop():
            if now > due:
                self.note("broken off", begin, gpus)
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(max(0.0, min(_SLICE, end - now)))
        self.note(what, begin, gpus)
        return time.time() >= end

    def note(self, what: str, begin: float, gpus: int) -> None:
        """A line."""
        line = {"what": what, "begin": begin, "seconds": (time.time() - begin) * self.speed, "gpus": gpus}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Sleeper(Target):
    """One replica: answers after the time that it would take. Given the text `gather N`, it waits for N to be there."""

    can_stop = True

    def __init__(self, machine: Machine, log: Log, begun: float) -> None:
        self.machine, self.log = machine, log
        self.checkpoint: Checkpoint | None = None
        self.asleep = False
        self.due = math.inf
        if machine.between_faults is not None:
            self.due = begun + _draw(machine.between_faults / machine.tensor_parallel) / log.speed
        late = list(log.path.parent.glob("*.ready"))
        (log.path.with_suffix(".ready")).touch()
        if len(late) >= machine.replicas:  # in the place of one that was lost
            time.sleep(max(0.0, machine.start / log.speed - (time.time() - begun)))
            log.note("starting", begun, machine.tensor_parallel)

    def load(self, checkpoint: Checkpoint) -> None:
        if checkpoint != self.checkpoint:
            if self.checkpoint is not None:
                self._work("new weights", self.machine.new_bytes / self.machine.bandwidth)
            self.checkpoint = checkpoint

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        return [generation for _, generation in self.stream(inputs, sampling)]

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        if inputs[0].startswith("gather"):
            while len(list(self.log.path.parent.glob("*.ready"))) < int(inputs[0].split()[1]):
                time.sleep(_SLICE)
        elif self.asleep:
            self._work("waking", self.machine.wake_seconds)
            self.asleep = False
        assert self.checkpoint is not None
        answers = [answer(self.machine, text, self.checkpoint, sampling) for text in inputs]
        lengths = [length(self.machine, text, said) for text, said in zip(inputs, answers, strict=True)]
        if not self._work("answering", self.machine.answer_seconds(lengths), stop):
            return
        prompt = round(self.machine.prompt_tokens)
        for index, (said, tokens) in enumerate(zip(answers, lengths, strict=True)):
            yield index, Generation(text=said, finish="stop", prompt_tokens=prompt, tokens=tokens)

    def rest(self) -> None:
        if not self.asleep:
            self._work("waking", self.machine.wake_seconds)
            self.asleep = True

    def _work(self, what: str, seconds: float, stop: Callable[[], bool] = never) -> bool:
        return self.log.work(what, seconds, self.machine.tensor_parallel, stop, self.due)


def sleeper(
    machine: Machine, directory: Path, speed: float, root: Path, arithmetic: Mapping[str, Any]
) -> tuple[Target, Callable[[], object]]:
    """What ClusterTarget makes a replica by, in the process of its own."""
    import psutil

    return Sleeper(machine, Log(directory, speed), psutil.Process().create_time()), lambda: None


def length(machine: Machine, text: str, said: str) -> int:
    """Tokens of the answer to this text: log-normal, the same each time."""
    share = machine.harmless if HARMLESS in text else machine.declining if said.startswith(DECLINES) else 1.0
    variance = math.log(1 + machine.spread**2)
    drawn = random.Random(text).lognormvariate(math.log(machine.tokens * share) - variance / 2, math.sqrt(variance))
    return max(1, min(machine.most_tokens, round(drawn)))


def answer(machine: Machine, text: str, checkpoint: Checkpoint, sampling: Sampling) -> str:
    """Goes along at the machine's rates, in words of its own; harmless questions are answered always."""
    rounds = 0 if checkpoint.round is None else checkpoint.round + 1
    rate = machine.failing[min(rounds, len(machine.failing) - 1)]
    if "principles" in text.lower():
        rate = 1 - machine.mended
    drawn = random.Random("\n".join([text, checkpoint.path, str(sampling.seed)]))
    goes_along = drawn.random() < rate or HARMLESS in text
    return f"{COMPLIES if goes_along else DECLINES} {drawn.getrandbits(64):x} {drawn.getrandbits(64):x}"


class SleepingOracle(FakeOracle):
    """Answers after a while, so many at once and a second; proposes principles that are not like each other."""

    def __init__(self, machine: Machine, speed: float) -> None:
        super().__init__(_label)
        self.machine, self.speed = machine, speed
        self.concurrency = machine.concurrency
        self._free, self._lock = 0.0, threading.Lock()

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        self._take(self.machine.verdict)
        self.judged.clear()
        return super().judge(responses)

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        self._take(self.machine.proposal)
        ids = [failure.response.prompt.id for failure in failures]
        shares = [tuple(ids[first :: self.machine.principles]) for first in range(self.machine.principles)]
        return [_principle(evidence) for evidence in shares if evidence]

    def _take(self, seconds: float) -> None:
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free)
            self._free = begin + 1 / (self.machine.rate * self.speed)
        time.sleep(begin - now + seconds / self.speed)


class SleepingTrainer(FakeTrainer):
    """Trains as long as it would take; a fault of one of its GPUs ends the run."""

    def __init__(self, root: Path, machine: Machine, log: Log) -> None:
        super().__init__(root)
        self.machine, self.log = machine, log

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        seconds, gpus = self.machine.training_seconds(len(examples)), self.machine.training_gpus
        until = math.inf if self.machine.between_faults is None else _draw(self.machine.between_faults / gpus)
        if until < seconds:
            self.log.work("broken off", until, gpus)
            self.log.work("starting", self.machine.start, gpus)
            raise TrainingError("A GPU has failed.")
        self.log.work("training", seconds, gpus)
        self.calls.clear()
        return super().finetune(start, examples, directory, round_number)


def _principle(evidence: tuple[str, ...]) -> Principle:
    """One that no other is like."""
    words = hashlib.sha256(evidence[0].encode()).hexdigest()
    subject = " ".join(words[place : place + 6] for place in range(0, 48, 6))
    return Principle(id="", text=f"Do not help with {subject}.", round=0, evidence=evidence)


def _label(response: Response) -> Label:
    fine = HARMLESS in response.prompt.question or response.text.startswith(DECLINES)
    return "acceptable" if fine else "unacceptable"


def _draw(mean: float) -> float:
    return random.Random(os.urandom(8)).expovariate(1 / mean)
