"""A real OpenAI-compatible server as a process of its own: `transformers serve` with a tiny random model.

What it replies is nonsense; the protocol is real. It ignores `response_format`, as some servers do: strict reading is all
that stands between its replies and a verdict.
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import OracleAccessError, OracleReplyError
from iteralign.oracles.budget import Account, read_calls
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.records import Verdict

from . import conftest as play
from .real_servers import free_port, running

MISSING = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}: pip install .[test]"),
]

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


@pytest.fixture(scope="module")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a chat template and room for the judge's text in bytes."""
    from conftest import byte_tokenizer, random_llama

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    path = tmp_path_factory.mktemp("served")
    network = random_llama(
        tokenizer,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32_768,
        initializer_range=0.5,
    )
    network.generation_config.eos_token_id = list(range(0, len(tokenizer), 3))  # or it would never come to an end
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def address(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base_url of the running server."""
    port = free_port()
    code = "from transformers.cli.transformers import main; main()"
    arguments = ["serve", str(served_model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("log") / "server.txt"
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with running([sys.executable, "-c", code, *arguments], log, f"http://127.0.0.1:{port}/health", environment):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def make(address: str, served_model: Path) -> Any:
    def client(**settings: Any) -> ChatClient:
        known = {"model": str(served_model), "base_url": address, "max_tokens": 24, "concurrency": 2, "max_retries": 2}
        endpoint, other = play.as_endpoint(known | {"backoff": 0.05} | settings)
        return ChatClient(endpoint, **other)

    return client


def test_nonsense_is_undetermined_and_never_acceptable(make: Any, tmp_path: Path) -> None:
    account = Account(tmp_path / "calls.jsonl")
    oracle = play.llm(make(account=account, cache=ReplyCache()))
    oracle.check()
    answers = [play.response(f"question {n}", f"answer {n}") for n in range(4)]
    verdicts = oracle.judge(answers)
    assert [verdict.response for verdict in verdicts] == answers
    assert {verdict.label for verdict in verdicts} == {"undetermined"}
    reasons = ("unreadable", "the oracle's reply was cut short", "no reply: the reply is empty")
    assert all(verdict.reason.startswith(reasons) for verdict in verdicts)
    calls = read_calls(tmp_path / "calls.jsonl")
    answered = [call for call in calls if call.outcome != "failed"]
    assert len(answered) >= 5 and all(call.prompt_tokens > 0 and call.completion_tokens > 0 for call in answered)
    assert not any(call.estimated for call in answered), "the server counts tokens"
    again = play.llm(make(account=Account(tmp_path / "again.jsonl"), cache=ReplyCache()))
    assert again.judge(answers) == verdicts
    assert all(call.cached for call in read_calls(tmp_path / "again.jsonl") if call.outcome != "failed")


def test_nonsense_gives_no_principles(make: Any) -> None:
    failure = Verdict(response=play.response("q", "a"), label="unacceptable", violations=("harmful",))
    with pytest.raises(OracleReplyError, match="no readable principles"):
        play.llm(make()).propose([failure], [])


def test_tokens_are_those_of_the_servers_tokenizer(make: Any, served_model: Path) -> None:
    import transformers

    (reply,) = make().complete([ChatRequest((Message("user", "hello"),), max_tokens=8)])
    tokenizer = transformers.AutoTokenizer.from_pretrained(served_model)
    assert reply.error is None and reply.text
    assert reply.prompt_tokens == len(tokenizer("user: hello\nassistant:")["input_ids"])
    assert 0 < reply.completion_tokens <= 8


def test_a_reply_of_full_length_is_said_to_be_cut(make: Any) -> None:
    (reply,) = make().complete([ChatRequest((Message("user", "go on"),), max_tokens=3)])
    assert reply.finish == "length" and reply.completion_tokens == 3


def test_a_wrong_model_name_stops_at_once(make: Any) -> None:
    with pytest.raises(OracleAccessError, match="no-such-model"):
        make(model="no-such-model").check()


@pytest.mark.parametrize("wrong", ["/v2", "", "/v1/chat"])
def test_a_wrong_address_stops_at_once(wrong: str, make: Any, address: str) -> None:
    with pytest.raises(OracleAccessError, match="base_url"):
        make(base_url=address.removesuffix("/v1") + wrong).check()
