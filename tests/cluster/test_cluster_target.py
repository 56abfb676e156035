"""Replicas behind one target: order, streams, what is lost and asked again, errors, and what Ray opens."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.acting import acting, real

from iteralign.cluster import connection
from iteralign.errors import TargetError
from iteralign.interfaces import Target
from iteralign.preflight.cluster import examined
from iteralign.records import Checkpoint, Sampling
from iteralign.settings.cluster import ClusterSettings
from iteralign.settings.settings import load_settings
from iteralign.targets import ray_pool
from iteralign.targets.cluster import ClusterTarget
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.model import LocalModel

NO_RAY = "needs Ray: pip install 'iteralign[cluster]'"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)]

GREEDY = Sampling(max_new_tokens=8)
SAMPLED = Sampling(max_new_tokens=8, temperature=0.8, seed=3)
INPUTS = [f"\n\nHuman: {'why ' * (n % 5)}number {n}?\n\nAssistant:" for n in range(9)]
Make = Callable[[Path, Mapping[str, Any]], tuple[Target, Callable[[], object]]]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for all tests of this module, whose processes find the module of the replicas' targets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        connection.connect("local")
        import ray

        yield
        ray.shutdown()


@pytest.fixture
def made(ray_here: None, tiny_llama: Path, tmp_path: Path) -> Iterator[Callable[..., ClusterTarget]]:
    """Makes targets, and ends them."""
    targets = []

    def make(what: Make = acting, **settings: Any) -> ClusterTarget:
        model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", dtype="float32", threads=1)
        chosen = ClusterSettings(address="local", **{"replicas": 2} | settings)
        targets.append(ClusterTarget(model, ray_pool.RayPool(chosen, "cpu"), what))
        return targets[-1]

    yield make
    for target in targets:
        target.close()


def said(target: ClusterTarget, texts: list[str]) -> list[str]:
    return [generation.text.rpartition(" by ")[0] for generation in target.generate(texts, GREEDY)]


def test_answers_and_scores_are_those_of_one_process(
    made: Callable[..., ClusterTarget], tiny_llama: Path, tmp_path: Path
) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", dtype="float32", threads=1)
    one, several = TransformersTarget(model), made(partial(real, str(tiny_llama)))
    model.at(model.base).save_pretrained(tmp_path / "trained")
    trained = Checkpoint(kind="full", path="trained")
    longer = [*INPUTS, "too long " * 100]
    for checkpoint in (model.base, trained):
        one.load(checkpoint)
        several.load(checkpoint)
        for sampling in (GREEDY, SAMPLED):
            assert several.generate(longer, sampling) == one.generate(longer, sampling)
        assert several.score(INPUTS, ["yes"] * 9) == pytest.approx(one.score(INPUTS, ["yes"] * 9), abs=1e-6)
    assert several.generate([], GREEDY) == [] and several.score([], []) == []


def test_a_stream_has_chunks_as_they_are_finished_and_ends_where_it_is_asked_to(
    made: Callable[..., ClusterTarget], tmp_path: Path
) -> None:
    target = made()
    assert target.generate(["a"], GREEDY)[0].text.endswith("tiny-llama0")
    waits = [f"wait {tmp_path / 'one'}", "x"]
    found: list[int] = []
    for index, _ in target.stream(waits, GREEDY, lambda: bool(found)):
        found.append(index)
    assert found == [1], "the other chunk was finished first, and the long one was not waited for"
    assert said(target, ["b", "c", "d"]) == ["b", "c", "d"], "the replica that was told to stop answers again"
    stream = target.stream([f"wait {tmp_path / 'two'}", "x"], GREEDY)
    assert next(stream)[0] == 1
    stream.close()  # type: ignore[attr-defined]
    assert said(target, ["e", "f"]) == ["e", "f"]
    target.rest()
    assert (tmp_path / "set-aside").exists()


@pytest.mark.parametrize("word", ["die", "break"])
def test_what_a_lost_replica_owed_is_asked_of_another(
    made: Callable[..., ClusterTarget], tmp_path: Path, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = made()
    texts = [f"{word} {tmp_path / 'file'}", *"abcdef"]
    assert said(target, texts) == texts
    assert caplog.text.count("A replica was lost (process") == 1
    assert said(target, texts) == texts and caplog.text.count("A replica was lost") == 1


def test_a_replica_that_hangs_is_ended_after_a_multiple_of_the_expected_time(
    made: Callable[..., ClusterTarget],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ray_pool, "GRACE", 1.0)
    target = made()
    for _ in range(2):  # both know the weights then, and the pace is known
        assert said(target, [*"abcd"]) == [*"abcd"]
    texts = [f"hang {tmp_path / 'file'}", *"abc"]
    assert said(target, texts) == texts
    assert "no sign of life" in caplog.text
    hanging = int((tmp_path / "file").read_text())
    psutil.wait_procs([psutil.Process(hanging)] if psutil.pid_exists(hanging) else [], timeout=30)
    assert not psutil.pid_exists(hanging) or psutil.Process(hanging).status() == psutil.STATUS_ZOMBIE


def test_an_error_of_our_own_comes_through_and_too_many_losses_end_the_run(
    made: Callable[..., ClusterTarget], tmp_path: Path
) -> None:
    target = made(restarts=1)
    with pytest.raises(TargetError, match=r"^The model gives NaN\.$"):
        target.generate([f"raise {tmp_path / 'file'}", *"abc"], GREEDY)
    assert said(target, [*"abc"]) == [*"abc"]
    with pytest.raises(TargetError, match=r"3 replicas were lost in a row, the last one .* since RuntimeError: a bug"):
        target.generate(["always"], GREEDY)


def test_a_node_that_does_not_see_the_run_says_so(made: Callable[..., ClusterTarget], tmp_path: Path) -> None:
    target = made(partial(real, "anything"))
    (tmp_path / "elsewhere").mkdir()
    target.model.storage.root = tmp_path / "elsewhere" / "gone"
    with pytest.raises(TargetError, match=r"gone is not there on .*same path"):
        target.generate(["a"], GREEDY)


def test_the_doctor_counts_what_a_running_cluster_has(ray_here: None) -> None:
    values = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}
    seen = examined(load_settings(values | {"cluster": {"address": "auto", "replicas": 2}}))
    assert (seen.state, seen.found) == ("ok", "2 replicas (transformers), started by Ray (auto); 1 node, 0 GPUs")
    lines = (
        "from iteralign.cluster.connection import connect\n"
        "from iteralign.errors import TargetError\n"
        "try: connect('ray://127.0.0.1:9')\n"
        "except TargetError as error: print(error)"
    )
    nobody = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert "Ray can't be used at ray://127.0.0.1:9 (" in nobody.stdout and "Traceback" not in nobody.stderr


def test_ray_of_one_run_listens_on_loopback_alone_with_a_token_that_lies_in_no_file(ray_here: None) -> None:
    ports = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            ports += [one.laddr for one in process.net_connections("inet") if one.status == "LISTEN"]
    assert len(ports) > 4 and {place.ip.removeprefix("::ffff:") for place in ports} == {"127.0.0.1"}
    token = os.environ["RAY_AUTH_TOKEN"]
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(token) == 64
    file = Path.home() / ".ray" / "auth_token"
    assert not file.exists() or token not in file.read_text()
    lines = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR'); print('in')"
    import ray

    address = ray.get_runtime_context().gcs_address
    stranger = os.environ | {"RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run([sys.executable, "-c", lines, address], env=stranger, capture_output=True, text=True)
    assert done.returncode != 0 and "in" not in done.stdout.split(), done.stderr
