"""A model behind an OpenAI-compatible completions server as the target: `vllm serve`, or any other.

One request per input, a bounded number at a time; the server batches them. Adapters are loaded at run time under a new
name each round, which vLLM's server can (VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora); the server must see the
run directory. Full weights can't be put into a running server.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from iteralign.activity import tell
from iteralign.endpoints.endpoint import Endpoint, as_object, first_choice
from iteralign.endpoints.failures import Failure, Inaccessible, NoContact, Refused, Rejected, Transient
from iteralign.endpoints.keys import NO_KEY, endpoint_key, redact
from iteralign.endpoints.pool import run_bounded
from iteralign.endpoints.retries import TURNED_AWAY, Retries
from iteralign.errors import TargetError
from iteralign.interfaces import Target, never
from iteralign.records import Checkpoint, Generation, Sampling
from iteralign.settings.model import ServedSettings
from iteralign.targets.tokens import encoded, row_seed
from iteralign.text.characters import valid
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel

_log = logging.getLogger(__name__)
_REFUSALS = (400, 422, 500)  # what servers answer to a prompt of a type that they do not know
_CONNECT_TIMEOUT = 10.0
_TOKENS_BEYOND = 64  # tokens without a text of their own: what ends an answer, what was cut off at a stop


class ServedTarget(Target):
    """A model behind a server."""

    can_stop = True

    def __init__(self, model: LocalModel, settings: ServedSettings) -> None:
        """`model` is the trainer's, for tokens and checkpoints' places."""
        self.model = model
        self.base_url = settings.base_url.rstrip("/")
        self.name = settings.name or model.name_or_path
        self.concurrency = settings.concurrency
        key = endpoint_key(settings.api_key_env, self.base_url) or NO_KEY
        self._endpoint = Endpoint(self.base_url, key, connect_timeout=_CONNECT_TIMEOUT, timeout=settings.timeout)
        self._told = [
            Endpoint(url.rstrip("/"), key, connect_timeout=_CONNECT_TIMEOUT, timeout=settings.timeout)
            for url in settings.base_urls
        ] or [self._endpoint]
        """Who is told of adapters."""
        self._retries = Retries(self._endpoint, most=settings.max_retries, seconds=settings.timeout, backoff=1.0)
        self._plain = False
        """Whether the server takes OpenAI's own parameters alone."""
        self._takes_ids = True
        """Whether a prompt may be token ids; until it is refused."""
        self._wanted = model.base
        self._served: tuple[Checkpoint, str] = (model.base, self.name)

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
        self._endpoint.open()
        gone, order = threading.Event(), list(ids)

        def answer(index: int) -> Generation | Failure:
            return self._answer(name, ids[index], inputs[index], sampling, gone)

        try:
            found = run_bounded(answer, order, self.concurrency, gone, stop)
            for count, (place, generation) in enumerate(found, start=1):
                if isinstance(generation, Failure):
                    raise generation
                tell("answering", count, len(ids))
                yield order[place], generation
        except (Failure, Inaccessible) as error:
            raise self._explained(error) from None

    def _answer(
        self, name: str, ids: list[int], text: str, sampling: Sampling, gone: threading.Event
    ) -> Generation | Failure:
        """The generation, or why there is none. Raises Cancelled once `gone` is set, and Inaccessible."""
        found, _ = self._retries.run(lambda: self._complete(name, ids, text, sampling), gone)
        if isinstance(found, Refused) or (isinstance(found, Rejected) and found.status in TURNED_AWAY):
            _log.warning("The target's server %s gave no answer to a prompt: %s.", self.base_url, found)
            return Generation(text="", finish="stop", prompt_tokens=len(ids), tokens=0)
        return found

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
        said, finish, tokens = _read(self._completed(request, text, extra))
        cuts = [said.find(stop) for stop in sampling.stop if stop in said]
        return Generation(
            text=said[: min(cuts)] if cuts else said,
            finish="length" if finish == "length" else "stop",
            prompt_tokens=len(ids),
            tokens=len(encode(self.model.tokenizer, said)) if tokens is None else tokens,
        )

    def _completed(self, request: dict[str, Any], text: str, extra: dict[str, Any]) -> bytes:
        """A completion of the token ids or, where the server does not take them (llama-cpp-python's), of the text."""
        of_text = request | {"prompt": valid(text)}
        if not self._takes_ids:
            return self._create(of_text, extra)
        try:
            return self._create(request, extra)
        except (Rejected, Transient) as refusal:
            if refusal.status not in _REFUSALS:
                raise
            try:
                reply = self._create(of_text, extra)
            except Failure:
                raise refusal from None
        self._takes_ids = False
        _log.warning("The target's server %s takes no token ids: it is given the text.", self.base_url)
        return reply

    def _create(self, request: dict[str, Any], extra: dict[str, Any]) -> bytes:
        """A completion. `extra`, which is no part of OpenAI's own interface, is left out for good once it is refused."""
        if not extra or self._plain:
            return self._endpoint.post("/completions", request)
        try:
            return self._endpoint.post("/completions", request | extra)
        except Rejected:
            reply = self._endpoint.post("/completions", request)  # what is wrong with all else is raised here
        if not self._plain:
            self._plain = True
            _log.warning("The target's server %s takes no %s: it samples without.", self.base_url, ", ".join(extra))
        return reply

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
            path = str(self.model.storage.place(self._wanted).resolve())
            self._tell("load_lora_adapter", {"lora_name": name, "lora_path": path})
        self._served = self._wanted, name
        return name

    def _tell(self, what: str, body: dict[str, str]) -> None:
        for endpoint in self._told:
            self._tell_one(endpoint, what, body)

    def _tell_one(self, endpoint: Endpoint, what: str, body: dict[str, str]) -> None:
        try:
            endpoint.post(f"/{what}", body)
        except NoContact as problem:
            raise self._explained(problem, endpoint) from None
        except (Failure, Inaccessible) as problem:
            raise TargetError(
                f"{endpoint.base_url} did not take a new adapter ({problem}). "
                "A vLLM server takes them when started with --enable-lora, --max-lora-rank at least training.lora_r, "
                "and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; it must see the run directory under the same path."
            ) from None

    def _explained(self, error: BaseException, endpoint: Endpoint | None = None) -> BaseException:
        if isinstance(error, NoContact):
            error = Inaccessible(f"it can't be reached: {error}. Is it running?")
        if isinstance(error, (Failure, Inaccessible)):
            return TargetError(f"The target's server {(endpoint or self._endpoint).base_url} failed: {error}")
        return error


def _read(body: bytes) -> tuple[str, object, int | None]:
    """Text, reason to end, and the number of tokens where it can be true. Raises Transient."""
    data = as_object(body)
    choice = first_choice(data)
    if choice is None or not isinstance(choice.get("text"), str):
        raise Transient("it answered without a completion. Is it a completions server?", few=True)
    said = redact(valid(choice["text"]))
    usage = data.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    believed = type(tokens) is int and bool(said) <= tokens <= len(said.encode()) + _TOKENS_BEYOND
    return said, choice.get("finish_reason"), tokens if believed else None
