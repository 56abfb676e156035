"""A Ray cluster of two nodes on this machine, in a process of its own, so that who uses it can fork.

python tests/cluster/nodes.py       prints the address, then obeys `remove`, `add` and `end` from its input
"""

import contextlib
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20}


class Nodes:
    """A head and a second node, which comes and goes: children of a process of their own, so that drivers can be forked."""

    def __init__(self) -> None:
        tests = str(Path(__file__).parents[1])
        os.environ |= {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what Ray calls its switch for loopback alone
            "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.both = True
        os.environ["RAY_ADDRESS"] = self._said()

    def replicas(self) -> list[psutil.Process]:
        """Those at work, on both nodes."""
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Replica"):
                    found.append(process)
        return found

    def change(self) -> str:
        """Take the second node away without a warning, or give it back."""
        told = "node removed" if self.both else "node added"
        self._order("remove" if self.both else "add")
        self._said()
        self.both = not self.both
        return told

    def close(self) -> None:
        self._order("end")
        self._process.wait()

    def _order(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()

    def _said(self) -> str:
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith("nodes: "):
            assert line, "the nodes have ended"
        return line.removeprefix("nodes: ").strip()


def _added(cluster: Any, **chosen: Any) -> Any:
    """Another node, the first one as the head. Ray waits half a minute for it, which a busy machine may need twice."""
    for _ in range(5):
        try:
            return cluster.add_node(**NODE, **chosen)
        except Exception as error:
            print(f"no node yet: {error}", file=sys.stderr, flush=True)
    raise RuntimeError("no node starts")


def main() -> None:
    """The process of the nodes."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    _added(cluster, include_dashboard=False)
    second = _added(cluster)
    print(f"nodes: {cluster.address}", flush=True)
    for line in sys.stdin:
        match line.strip():
            case "remove":
                cluster.remove_node(second, allow_graceful=False)
            case "add":
                second = _added(cluster)
            case _:
                break
        print("nodes: done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
