"""A Gateway and a replica group without Ray, in a process of its own: both protocols over a tiny random model.

    python -m tests.fuzz.served DIRECTORY

It prints where HTTP and gRPC are, then what it holds for each line of its standard input, and ends with that.
"""

import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryDirectory
from typing import IO

import psutil

from serving.config import GatewayConfig, ModelConfig, Role
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.gateway.access import OpenAccess
from serving.gateway.groups.pool import GroupPool
from serving.gateway.http.app import build_http_app
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.gateway.text.tokenizers import load_tokenizer
from serving.group.runner import load_runner
from serving.group.server import GroupServer
from tests.abuse.target import HOST
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER
from tests.gateway.conftest import serving_on_loopback
from tests.gateway.grpc_server import grpc_server
from tests.service.tiny_codegemma import write_tiny_codegemma

MODEL = "codegemma"
MAX_BODY_BYTES = 256 * 1024
_LIMITS = {"max_rows": 8, "max_step_tokens": 64, "max_context": 256, "page_size": 16, "kv_tokens": 4096}
_CONFIG = GatewayConfig(max_body_bytes=MAX_BODY_BYTES, request_timeout_s=30)


@dataclass(frozen=True)
class Held:
    """What the process holds.

    Attributes:
      requests: in the engine.
      pages: of its cache, used by requests.
      tasks: of its event loop.
      files: open files and sockets.
      memory: resident bytes.
      recompilations: of steps, since it began.
    """

    requests: int
    pages: int
    tasks: int
    files: int
    memory: int
    recompilations: int


@dataclass(frozen=True)
class Served:
    """The process, as its parent sees it."""

    url: str
    grpc_target: str
    _ask: IO[str]
    _answers: IO[str]

    def held(self) -> Held:
        """What it holds now."""
        self._ask.write("\n")
        self._ask.flush()
        return Held(**json.loads(self._answers.readline()))


@contextmanager
def served() -> Iterator[Served]:
    """One that runs for as long as the block does."""
    quiet = {**os.environ, "GRPC_VERBOSITY": "NONE", "XLA_FLAGS": ""}  # tests make eight devices of a processor
    with TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tests.fuzz.served", directory]
        with Popen(command, env=quiet, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as process:
            assert process.stdin
            assert process.stdout
            with process.stdin:
                url, grpc_target = process.stdout.readline().split()
                yield Served(url, grpc_target, process.stdin, process.stdout)


async def _serve(directory: Path) -> None:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # not a line for each request
    model = ModelConfig.model_validate(
        {
            "id": MODEL,
            "checkpoint": str(write_tiny_codegemma(directory)),
            "roles": [Role.FIM, Role.CHAT],
            "dtype": "float32",
            "default_max_tokens": 16,
            "limits": _LIMITS,
        }
    )
    runner = load_runner(model, lambda *_: None)
    engine = Engine(runner, max_queue=64)
    group = GroupServer(engine, HOST)
    EngineThread(engine, after_step=group.after_step).start()
    pool = GroupPool(model, _no_other_group)
    pool.update({"group": group.start()})
    tokenizer = load_tokenizer(CODEGEMMA_TOKENIZER)
    served_model = ServedModel(
        config=model, tokenizer=tokenizer, backend=SingleFlight(pool), max_context=model.limits.max_context
    )
    service = CodeService([served_model], _CONFIG, access=OpenAccess())
    process = psutil.Process()

    def held() -> Held:
        gc.collect()
        stats = engine.stats()
        return Held(
            requests=engine.in_flight,
            pages=stats.total_pages - stats.free_pages,
            tasks=len(asyncio.all_tasks()),
            files=process.num_fds(),
            memory=process.memory_info().rss,
            recompilations=runner.recompilations,
        )

    async with (
        serving_on_loopback(build_http_app(lambda: service, _CONFIG)) as url,
        grpc_server(service, _CONFIG) as grpc_target,
    ):
        print(url, grpc_target, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(asdict(held())), flush=True)


async def _no_other_group() -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
