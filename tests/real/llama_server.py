"""llama.cpp's own server, out of the package that `fetch.py llama-server` brought:

    python tests/real/llama_server.py DIRECTORY --model M.gguf --alias judge --port 8080

Its options have the names that llama-server gives them. It listens on loopback until it is ended.
"""

import argparse
import importlib
import os
import signal
import sys
from typing import Any


def main() -> None:
    options = parsed()
    sys.path.insert(0, options.directory)
    llama: Any = importlib.import_module("xllamacpp")
    wanted = llama.CommonParams()
    wanted.model.path = options.model
    wanted.model_alias = {options.alias}
    wanted.n_ctx, wanted.n_parallel = options.ctx_size, options.parallel
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = options.threads
    wanted.hostnames, wanted.port = ["127.0.0.1"], options.port
    server = llama.Server(wanted)
    print(f"listening on {server.listening_address}", flush=True)
    signal.pause()


def parsed() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="where fetch.py has put things")
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--alias", default="judge", help="the model's name for clients")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx-size", type=int, default=8192, help="tokens of all slots together")
    parser.add_argument("--parallel", type=int, default=2, help="slots: requests that are answered at once")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores: a run waits while it judges")
    return parser.parse_args()


if __name__ == "__main__":
    main()
