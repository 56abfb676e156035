"""A model behind an OpenAI-compatible completions server as the target: `vllm serve`, or any other.

One request per input, a bounded number at a time; the server batches them. Adapters are loaded at run time under a new
name each round, which vLLM's server can (VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora); the server must see the
run directory. Full weights can't be put into a running server.
"""

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from iteralign.activity import tell
from iteralign.errors import TargetError
from iteralign.interfaces import never
from iteralign.model import LocalModel
from iteralign.records import Checkpoint, Generation, Sampling
from iteralign.targets.tokens import encoded, row_seed

_log = logging.getLogger(__name__)
_REFUSALS = (400, 422, 500)  # what servers answer to a prompt of a type that they do not know
_POLL = 0.05  # seconds between two looks at `stop`


class ServedTarget:
    """Implements `interfaces.Target` and `interfaces.Streams`."""

    def __init__(
        self,
        model: LocalModel,
        *,
        base_url: str,
        name: str,
        key: str = "none",
        concurrency: int = 64,
        timeout: float = 600.0,
        max_retries: int = 4,
    ) -> None:
        """`name`: what the server calls the base model. `model` is the trainer's, for tokens and checkpoints' places."""
        self.model = model
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.concurrency = concurrency
        self._key = key
        self._timeout = timeout
        self._max_retries = max_retries
        self._client: Any = None
        self._plain = False
        """Whether the server takes OpenAI's own parameters alone."""
        self._takes_ids = True
        """Whether a prompt may be token ids; until it is refused."""
        self._wanted = model.base
        self._served: tuple[Checkpoint, str] = (model.base, name)

    def load(self, checkpoint: Checkpoint) -> None:
        """Generate with these weights from now on; the server is told at the next `generate`."""
        if checkpoint.kind == "full":
            raise TargetError(
                f"{checkpoint.path} holds full weights, which can't be put into a running server. Train with method "
                "lora, or set model.engine to transformers or vllm."
            )
        self._wanted = checkpoint

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        """Continue each text. Raises TargetError."""
        done = dict(self.stream(inputs, sampling))
        return [done[index] for index in range(len(inputs))]

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        """(index, generation) as they arrive. Once stopped, what is under way is left to the server."""
        ids, too_long = encoded(self.model, inputs, sampling)
        yield from too_long.items()
        if not ids or stop():
            return
        tell("answering", 0, len(ids))
        name = self._name()
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in ids:
            waiting.put(index)
        done: queue.SimpleQueue[tuple[int, Generation | BaseException]] = queue.SimpleQueue()
        gone = threading.Event()

        def work() -> None:
            while not gone.is_set():
                try:
                    index = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((index, self._complete(name, ids[index], inputs[index], sampling)))
                except BaseException as error:  # raised where the answers are read
                    done.put((index, error))

        for _ in range(min(self.concurrency, len(ids))):
            threading.Thread(target=work, name="served-target", daemon=True).start()
        try:
            for count in range(1, len(ids) + 1):
                found = _next(done, stop)
                if found is None:
                    return
                index, generation = found
                if isinstance(generation, BaseException):
                    raise self._explained(generation) from generation
                tell("answering", count, len(ids))
                yield index, generation
        finally:
            gone.set()

    def _complete(self, name: str, ids: list[int], text: str, sampling: Sampling) -> Generation:
        request = {
            "model": name,
            "prompt": ids,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "frequency_penalty": sampling.frequency_penalty,
            "stop": list(sampling.stop) or None,
            "seed": row_seed(sampling.seed, text) % 2**31,
        }
        extra = {"min_p": sampling.min_p} if sampling.temperature and sampling.min_p else {}
        reply = self._completed(request, text, extra)
        choice = reply.choices[0] if reply.choices else None
        if choice is None or not isinstance(choice.text, str):
            raise TargetError(f"{self.base_url} answered without a completion. Is it a completions server?")
        cuts = [choice.text.find(stop) for stop in sampling.stop if stop in choice.text]
        return Generation(
            text=choice.text[: min(cuts)] if cuts else choice.text,
            finish="length" if choice.finish_reason == "length" else "stop",
            prompt_tokens=len(ids),
            tokens=reply.usage.completion_tokens if reply.usage is not None else 0,
        )

    def _completed(self, request: dict[str, Any], text: str, extra: dict[str, Any]) -> Any:
        """A completion of the token ids or, where the server does not take them (llama-cpp-python's), of the text."""
        import openai

        of_text = request | {"prompt": text}
        if not self._takes_ids:
            return self._create(of_text, extra)
        try:
            return self._create(request, extra)
        except openai.APIStatusError as refusal:
            if refusal.status_code not in _REFUSALS:
                raise
            try:
                reply = self._create(of_text, extra)
            except openai.OpenAIError:
                raise refusal from None
        self._takes_ids = False
        _log.warning("The target's server %s takes no token ids: it is given the text.", self.base_url)
        return reply

    def _create(self, request: dict[str, Any], extra: dict[str, Any]) -> Any:
        """A completion. `extra`, which is no part of OpenAI's own interface, is left out for good once it is refused."""
        import openai

        create = self._open().completions.create
        if not extra or self._plain:
            return create(**request)
        try:
            return create(**request, extra_body=extra)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            reply = create(**request)  # what is wrong with all else is raised here
        if not self._plain:
            self._plain = True
            _log.warning("The target's server %s takes no %s: it samples without.", self.base_url, ", ".join(extra))
        return reply

    def _open(self) -> Any:
        """The client: keeps its connections, follows Retry-After, tries again a few times."""
        if self._client is None:
            import openai

            self._client = openai.OpenAI(
                api_key=self._key, base_url=self.base_url, timeout=self._timeout, max_retries=self._max_retries
            )
        return self._client

    def _name(self) -> str:
        """What the server calls the wanted weights, which it is told to load if it has not."""
        loaded, name = self._served
        if loaded == self._wanted:
            return name
        if name != self.name:
            self._tell("unload_lora_adapter", {"lora_name": name})
        name = self.name
        if self._wanted.kind == "adapter":
            name = f"iteralign-round-{self._wanted.round}-{uuid.uuid4().hex[:8]}"  # never one the server has cached
            path = str((self.model.root / self._wanted.path).resolve())
            self._tell("load_lora_adapter", {"lora_name": name, "lora_path": path})
        self._served = self._wanted, name
        return name

    def _tell(self, what: str, body: dict[str, str]) -> None:
        import openai

        try:
            self._open().with_options(max_retries=0).post(f"/{what}", body=body, cast_to=str)
        except openai.APIStatusError as error:
            raise TargetError(
                f"{self.base_url} did not take a new adapter (HTTP {error.status_code}: {error.message[:300]}). "
                "A vLLM server takes them when started with --enable-lora, --max-lora-rank at least training.lora_r, "
                "and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; it must see the run directory under the same path."
            ) from None
        except openai.OpenAIError as error:
            raise self._explained(error) from error

    def _explained(self, error: BaseException) -> BaseException:
        import openai

        if isinstance(error, openai.APIConnectionError):
            return TargetError(f"The target's server {self.base_url} can't be reached: {error}. Is it running?")
        if isinstance(error, openai.OpenAIError):
            return TargetError(f"The target's server {self.base_url} failed: {str(error)[:300]}")
        return error


def _next(done: "queue.SimpleQueue[Any]", stop: Callable[[], bool]) -> Any:
    """The next answer; None once `stop` says so."""
    while not stop():
        try:
            return done.get(timeout=_POLL)
        except queue.Empty:
            continue
    return None
