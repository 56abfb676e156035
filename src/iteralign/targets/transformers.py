"""A Hugging Face model of this process as the target.

A generation depends on the weights, its own input and the sampling record, not on the batch that it happens to share:
left padding is masked, and sampled rows draw from a random stream of their own. What remains is the rounding of sums,
which differs between batch shapes (about 1e-6 in float32, more in bfloat16) and can tip a near tie.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from iteralign.activity import Work, retold, tell
from iteralign.errors import TargetError
from iteralign.interfaces import Target, never
from iteralign.records import Checkpoint, Generation, Sampling
from iteralign.targets.scoring import mean_log_probabilities
from iteralign.targets.shared_head import head_cache, head_length
from iteralign.targets.tokens import as_generation, decode, encoded, end_tokens, row_seed
from iteralign.weights.model import LocalModel

CPU_ROWS, CPU_TOKENS = 64, 8192
"""Of a batch on a CPU: what was fastest with models of 6M and 52M parameters, short prompts and long ones (docs/log.md)."""
GPU_ROWS, GPU_TOKENS = 256, 32768


class TransformersTarget(Target):
    """Answers with the weights that `model` owns; loads nothing before the first `generate`."""

    can_score = can_stop = True

    def __init__(
        self,
        model: LocalModel,
        *,
        batch_size: int | Literal["auto"] = "auto",
        batch_tokens: int | None = None,
    ) -> None:
        """`batch_tokens` bounds rows x (longest prompt + max_new_tokens) of a batch, and so the cache's memory; None: by the
        device."""
        self.model = model
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self._checkpoint = model.base

    def load(self, checkpoint: Checkpoint) -> None:
        """Generate with these weights from now on; they are read at the next `generate`."""
        self._checkpoint = checkpoint

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Mean log-probability of a token of each completion after its input, by the loaded weights."""
        network = self.model.network(self._checkpoint)
        context, device = self.model.context_length, self.model.device
        return mean_log_probabilities(network, self.model.tokenizer, inputs, completions, context, device)

    def first_tokens(self, inputs: Sequence[str], count: int) -> list[tuple[tuple[str, float], ...] | None]:
        """The likeliest next tokens of each text with their log-probabilities, the likeliest first; None for a text that
        does not fit the context."""
        prompts, _ = encoded(self.model, inputs, Sampling(max_new_tokens=1))
        network = self.model.network(self._checkpoint)
        waiting = sorted(prompts, key=lambda index: (-len(prompts[index]), index))
        found: dict[int, tuple[tuple[str, float], ...]] = {}
        while waiting:
            tell("scoring", len(found), len(inputs))
            width = len(prompts[waiting[0]]) + 1
            batch, seen = waiting[: self._rows(width)], Likeliest(self.model.tokenizer, count)
            try:
                self._continued(network, [prompts[i] for i in batch], 1, [NotNaN(self.model.name_or_path), seen], [])
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            if seen.rows:
                waiting = waiting[len(batch) :]
                found |= zip(batch, seen.rows, strict=True)
            else:
                self._shrink(len(batch), width)
        return [found.get(index) for index in range(len(inputs))]

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        """Continue each text. TargetError if even a single one runs out of memory."""
        done = dict(self.stream(inputs, sampling))
        return [done[index] for index in range(len(inputs))]

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        """(index, generation) as batches are finished; `stop` is asked before every token."""
        prompts, too_long = encoded(self.model, inputs, sampling)
        yield from too_long.items()
        # Longest first: what does not fit in memory shows at once, and rows of a batch have like lengths.
        waiting = sorted(prompts, key=lambda index: (-len(prompts[index]), index))
        while waiting and not stop():
            width = len(prompts[waiting[0]]) + sampling.max_new_tokens
            batch = waiting[: self._rows(width)]
            done = len(inputs) - len(waiting)
            with retold(_after(done, len(inputs))):
                generations = self._attempt([inputs[i] for i in batch], [prompts[i] for i in batch], sampling, stop)
            if stop():
                return
            if generations is None:
                self._shrink(len(batch), width)
                continue
            waiting = waiting[len(batch) :]
            tell("answering", len(inputs) - len(waiting), len(inputs))
            yield from zip(batch, generations, strict=True)

    def _rows(self, width: int) -> int:
        """Rows of a batch whose rows take up to `width` tokens."""
        on_cpu = self.model.device == "cpu"
        most = self.batch_size if self.batch_size != "auto" else CPU_ROWS if on_cpu else GPU_ROWS
        tokens = self.batch_tokens if self.batch_tokens is not None else CPU_TOKENS if on_cpu else GPU_TOKENS
        return max(1, min(most, tokens // width))

    def _shrink(self, rows: int, width: int) -> None:
        """Allow half of what did not fit in memory, for the rest of the run."""
        if rows == 1:
            raise TargetError(
                f"Out of memory on {self.model.device} with a single prompt of {width} tokens, answer included. Use a "
                "smaller model, dtype bfloat16, fewer max_new_tokens, or leave out the longest prompts."
            )
        self.batch_tokens = rows // 2 * width
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _attempt(
        self, inputs: Sequence[str], prompts: Sequence[list[int]], sampling: Sampling, halt: Callable[[], bool]
    ) -> list[Generation] | None:
        """One batch, cut short once `halt` says so; None when memory did not suffice."""
        network = self.model.network(self._checkpoint)
        try:
            return self._batch(network, inputs, prompts, sampling, halt)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        return None  # outside the except block, which would keep the batch's tensors alive

    def _batch(
        self,
        network: Any,
        inputs: Sequence[str],
        prompts: Sequence[list[int]],
        sampling: Sampling,
        halt: Callable[[], bool],
    ) -> list[Generation]:
        tell("answering", 0, len(prompts))
        tokenizer = self.model.tokenizer
        width = max(len(ids) for ids in prompts)
        ends = end_tokens(self.model)
        stop = StopTexts(tokenizer, sampling.stop, width, len(prompts))
        moves = Moves({*ends, tokenizer.pad_token_id}, width, sampling.max_new_tokens)
        criteria = [*([stop] if sampling.stop else []), *([] if halt is never else [Halt(halt)]), moves]
        processors = _processors(self.model.name_or_path, inputs, sampling, width)
        answers = self._continued(network, prompts, sampling.max_new_tokens, processors, criteria)
        return [
            as_generation(tokenizer, len(ids), answer, ends, stop.ended[row], sampling)
            for row, (ids, answer) in enumerate(zip(prompts, answers, strict=True))
        ]

    def _continued(
        self,
        network: Any,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        processors: Sequence[Any],
        criteria: Sequence[Any],
    ) -> list[list[int]]:
        """The tokens behind each prompt, by one call of `generate`."""
        import torch
        import transformers

        tokenizer = self.model.tokenizer
        width = max(len(ids) for ids in prompts)
        head = head_length(prompts)
        cache = head_cache(network, prompts[0][:head], len(prompts)) if head else None
        if cache is None:
            head = 0
        # Padding stands behind the head that all rows share, and left of everything else.
        gaps = [width - len(ids) for ids in prompts]
        padded = [
            ids[:head] + [tokenizer.pad_token_id] * gap + ids[head:] for ids, gap in zip(prompts, gaps, strict=True)
        ]
        mask = [[1] * head + [0] * gap + [1] * (width - head - gap) for gap in gaps]
        config: Any = transformers.GenerationConfig
        own, network.generation_config = network.generation_config, config()
        try:
            rows = network.generate(
                input_ids=torch.tensor(padded, device=self.model.device),
                attention_mask=torch.tensor(mask, device=self.model.device),
                past_key_values=cache,
                # Complete, and the model's own set aside: its temperature or penalties must not leak in.
                generation_config=config(
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=end_tokens(self.model) or None,
                ),
                logits_processor=transformers.LogitsProcessorList(processors),
                stopping_criteria=transformers.StoppingCriteriaList(criteria),
            )
        finally:
            network.generation_config = own
        answers: list[list[int]] = rows[:, width:].tolist()
        return answers


class NotNaN:
    """Logits processor that passes scores on and raises TargetError if one of them is not a number."""

    def __init__(self, model: str) -> None:
        self.model = model

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`scores` (rows, vocabulary)."""
        if bool(scores.isnan().any()):
            raise TargetError(
                f"{self.model} gives NaN instead of scores, so what it writes means nothing. Its weights are broken, or "
                "its dtype overflows: check the model, or set model.dtype to bfloat16 or float32."
            )
        return scores


class Likeliest:
    """Logits processor that passes scores on and keeps what they say is likeliest."""

    def __init__(self, tokenizer: Any, count: int) -> None:
        self.tokenizer = tokenizer
        self.count = count
        self.rows: list[tuple[tuple[str, float], ...]] = []
        """Tokens with their log-probabilities, the likeliest first."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`scores` (rows, vocabulary)."""
        best = scores.float().log_softmax(dim=-1).topk(min(self.count, scores.shape[-1]), dim=-1)
        self.rows = [
            tuple((decode(self.tokenizer, [token], skip_special_tokens=False), score) for token, score in row)
            for row in (
                zip(ids, values, strict=True)
                for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            )
        ]
        return scores


class FrequencyPenalty:
    """Logits processor: subtracts penalty x (times the token stands in the answer so far), as OpenAI's API does."""

    def __init__(self, penalty: float, prompt_width: int) -> None:
        self.penalty = penalty
        self.prompt_width = prompt_width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`input_ids` (rows, prompt + generated), `scores` (rows, vocabulary)."""
        import torch

        generated = input_ids[:, self.prompt_width :]
        counts = torch.zeros_like(scores).scatter_add_(1, generated, torch.ones_like(generated, dtype=scores.dtype))
        return scores - self.penalty * counts


class RowNoise:
    """Logits processor: adds Gumbel noise, so that the largest score is a draw from the softmax of `scores`.

    Each row has a generator of its own, seeded by the sampling seed and the row's input text.
    """

    def __init__(self, inputs: Sequence[str], seed: int) -> None:
        self.seeds = [row_seed(seed, text) for text in inputs]
        self._generators: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`scores` (rows, vocabulary)."""
        import torch

        if not self._generators:
            self._generators = [torch.Generator(device=scores.device).manual_seed(seed) for seed in self.seeds]
        noise = torch.empty_like(scores)
        for row, generator in enumerate(self._generators):
            noise[row].exponential_(generator=generator)
        return scores - noise.clamp_min(torch.finfo(scores.dtype).tiny).log()


class StopTexts:
    """Stopping criterion: a row ends when one of the texts stands in its answer (never in its prompt)."""

    def __init__(self, tokenizer: Any, texts: Sequence[str], prompt_width: int, rows: int) -> None:
        self.tokenizer = tokenizer
        self.texts = texts
        self.prompt_width = prompt_width
        self.window = max((len(text.encode()) for text in texts), default=0) + 8
        """Tokens looked at: one holds at least one byte of a text, and a few more stand for what joins at its edges."""
        self.ended: list[int | None] = [None] * rows
        """Generated tokens when the row ended; None while it has not."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`input_ids` (rows, prompt + generated); returns a bool tensor (rows,)."""
        import torch

        answers = input_ids[:, self.prompt_width :]
        length = answers.shape[1]
        for row, tail in enumerate(answers[:, -self.window :].tolist()):
            if self.ended[row] is None:
                text = decode(self.tokenizer, tail, skip_special_tokens=False)
                if any(stop in text for stop in self.texts):
                    self.ended[row] = length
        return torch.tensor([end is not None for end in self.ended], device=input_ids.device)


class Halt:
    """Stopping criterion: all rows end once `halt` says that nobody waits for them any longer."""

    def __init__(self, halt: Callable[[], bool]) -> None:
        self.halt = halt

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`input_ids` (rows, prompt + generated); returns a bool tensor (rows,)."""
        import torch

        return torch.full((input_ids.shape[0],), self.halt(), device=input_ids.device)


class Moves:
    """Stopping criterion that stops nothing: tells how much of a batch is answered, a row by the share of its tokens."""

    def __init__(self, ends: set[int], prompt_width: int, max_new_tokens: int) -> None:
        self.ends = ends
        self.prompt_width = prompt_width
        self.max_new_tokens = max_new_tokens

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`input_ids` (rows, prompt + generated); returns a bool tensor (rows,)."""
        import torch

        last = input_ids[:, -1].tolist()
        share = (input_ids.shape[1] - self.prompt_width) / self.max_new_tokens
        tell("answering", sum(1.0 if token in self.ends else share for token in last), len(last))
        return torch.zeros(len(last), dtype=torch.bool, device=input_ids.device)


def _after(done: int, total: int) -> Callable[[Work], Work]:
    """What a batch tells, as a part of all `total` inputs, of which `done` came before it."""
    return lambda work: replace(work, done=done + work.done, total=total)


def _processors(model: str, inputs: Sequence[str], sampling: Sampling, prompt_width: int) -> Any:
    """The check, then penalty, temperature, top-p, min-p, then the draw; greedy needs the first alone."""
    import transformers

    processors = transformers.LogitsProcessorList([NotNaN(model)])
    if sampling.frequency_penalty:
        processors.append(FrequencyPenalty(sampling.frequency_penalty, prompt_width))
    if sampling.temperature > 0:
        processors.append(transformers.TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_p < 1:
            processors.append(transformers.TopPLogitsWarper(sampling.top_p))
        if sampling.min_p > 0:
            processors.append(transformers.MinPLogitsWarper(sampling.min_p))
        processors.append(RowNoise(inputs, sampling.seed))
    return processors


def _is_out_of_memory(error: RuntimeError) -> bool:
    """torch.OutOfMemoryError, and the plain RuntimeErrors of the CPU's and of MPS's allocators."""
    import torch

    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text
