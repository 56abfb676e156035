"""The process that owns a vLLM engine: requests as JSON lines on standard input, replies on what was standard output.

Run by a Python that has vLLM and need not have iteralign (their pins of transformers differ), so nothing of iteralign is
imported here. A process of its own is the one owner that surely gives the GPU's memory back when it ends.

    python vllm_worker.py '{"model": "...", "dtype": "float32", ...}'       the keyword arguments of vllm.LLM

Requests, each answered by one line `{"ok": ...}` or `{"error": "..."}`; `generate` sends `{"index": ..., ...}` before it:

    {"do": "generate", "prompts": [[ids]], "sampling": [{...}], "adapter": null or {"name", "number", "path"}}
    {"do": "stop"}      while it generates: end what is under way
    {"do": "logprobs", "prompts": [[ids]], "starts": [n], "adapter": ...}       sum of each prompt's log-probabilities from
        its token n on, the first token's left out, which has none
    {"do": "reload", "path": directory}      full weights, in place
    {"do": "sleep"} {"do": "wake"}
"""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

sys.path[:] = [place for place in sys.path if Path(place) != Path(__file__).parent]  # vllm.py beside this is not vLLM


class Worker:
    """One engine."""

    def __init__(self, arguments: dict[str, Any], replies: Any) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # this is the process of its own already
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else one core of few is kept free
        from vllm import LLM

        self.replies = replies
        self.llm = LLM(**arguments)

    def serve(self, requests: "queue.Queue[dict[str, Any] | None]") -> None:
        """Until the input ends."""
        while (request := requests.get()) is not None:
            if request["do"] == "stop":  # came after the end of what it was to stop
                continue
            try:
                self.send({"ok": getattr(self, request.pop("do"))(requests=requests, **request)})
            except Exception as error:
                self.send({"error": f"{type(error).__name__}: {error}"})

    def send(self, line: dict[str, Any]) -> None:
        self.replies.write(json.dumps(line) + "\n")
        self.replies.flush()

    def generate(
        self,
        requests: "queue.Queue[dict[str, Any] | None]",
        prompts: list[list[int]],
        sampling: list[dict[str, Any]],
        adapter: dict[str, Any] | None,
    ) -> bool:
        """Whether all were finished; each as it is."""
        from vllm import SamplingParams

        engine = self.llm.llm_engine
        ids = self.llm.enqueue(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            [SamplingParams(**parameters) for parameters in sampling],
            lora_request=_lora(adapter),
            use_tqdm=False,
        )
        places = {_number(id): index for index, id in enumerate(ids)}
        while engine.has_unfinished_requests():
            if self._told_to_stop(requests):
                engine.abort_request(ids, internal=True)
                return False
            for output in engine.step():
                if output.finished:
                    answer = output.outputs[0]
                    self.send(
                        {
                            "index": places[_number(output.request_id)],
                            "tokens": list(answer.token_ids),
                            "finish": "length" if answer.finish_reason == "length" else "stop",
                        }
                    )
        return True

    def logprobs(
        self, requests: object, prompts: list[list[int]], starts: list[int], adapter: dict[str, Any] | None
    ) -> list[float]:
        """One prompt at a time: several at once kill a CPU engine that has LoRA."""
        from vllm import SamplingParams

        sums = []
        for ids, start in zip(prompts, starts, strict=True):
            wanted = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
            given = {"prompt_token_ids": ids}
            output = self.llm.generate([given], wanted, use_tqdm=False, lora_request=_lora(adapter))[0]
            each = list(zip(ids, output.prompt_logprobs or [], strict=True))[max(1, start) :]
            sums.append(sum(found[token].logprob for token, found in each))
        return sums

    def reload(self, requests: object, path: str) -> bool:
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": path})
        self.llm.reset_prefix_cache()
        return True

    def sleep(self, requests: object) -> bool:
        self.llm.reset_prefix_cache()
        self.llm.sleep(level=1)
        return True

    def wake(self, requests: object) -> bool:
        self.llm.wake_up()
        return True

    def _told_to_stop(self, requests: "queue.Queue[dict[str, Any] | None]") -> bool:
        """A stop, or the end of the input."""
        try:
            request = requests.get_nowait()
        except queue.Empty:
            return False
        if request is None:
            requests.put(None)
        return True


def _number(request_id: str) -> str:
    """What stands before the random part that the engine appends to some ids."""
    return request_id.split("-")[0]


def _lora(adapter: dict[str, Any] | None) -> Any:
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter["name"], adapter["number"], adapter["path"])


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what vLLM prints must not stand among the replies
    requests: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(json.loads(line))
        requests.put(None)

    try:
        worker = Worker(json.loads(sys.argv[1]), replies)
    except Exception as error:
        replies.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        replies.flush()
        raise
    worker.send({"ok": True})
    threading.Thread(target=read, daemon=True).start()
    worker.serve(requests)


if __name__ == "__main__":
    main()
