"""A Gateway without Ray, in a process of its own: both protocols, over a backend that repeats a line.

    python -m tests.abuse.lone_gateway CONFIGURATION-AS-JSON

It prints where HTTP, gRPC and its metrics are, and ends when its standard input does.
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from serving.config import GatewayConfig, Role
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.records import RequestRecords
from serving.gateway.service import CodeService
from serving.gateway.text.tokenizers import load_tokenizer
from serving.telemetry.loop_watch import LoopWatch
from serving.telemetry.metrics import Metric
from tests.abuse.target import HOST, Door, Target
from tests.data.codegemma_tokenizer import CODEGEMMA_TOKENIZER
from tests.gateway.conftest import serving_on_loopback
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, served_model

_KINDS = {"counter": Counter, "gauge": Gauge}
_REPORT_S = 0.5


class _PrometheusRecorder:
    """Implements `Recorder` as Ray's does, for one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._by_name: dict[str, Any] = {}
        server, _ = start_http_server(0, HOST, self._registry)
        self.port = server.server_port

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        exported = self._by_name.get(metric.name) or self._made(metric)
        bound = exported.labels(**labels) if labels else exported
        match metric.kind:
            case "counter":
                bound.inc(value)
            case "gauge":
                bound.set(value)
            case "histogram":
                bound.observe(value)

    def _made(self, metric: Metric) -> Any:
        name, labels, registry = f"ray_{metric.name}", metric.labels, self._registry
        if metric.kind == "histogram":
            made: Any = Histogram(name, metric.help, labels, registry=registry, buckets=metric.buckets)
        else:
            made = _KINDS[metric.kind](name, metric.help, labels, registry=registry)
        self._by_name[metric.name] = made
        return made


async def _serve(config: GatewayConfig) -> None:
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # not a line for each request
    recorder = _PrometheusRecorder()
    backend = ScriptedBackend(load_tokenizer(CODEGEMMA_TOKENIZER), "return 1\n" * 4)
    model = served_model(backend, "codegemma-test", Role.FIM, Role.CHAT)
    records = RequestRecords(recorder, [model.config])
    service = CodeService([model], config, records=records, access=OpenAccess())
    LoopWatch(recorder).start()
    gc.freeze()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with (
        serving_on_loopback(build_http_app(lambda: service, config)) as url,
        grpc_server(service, config) as grpc_target,
    ):
        print(url.rpartition(":")[2], grpc_target.rpartition(":")[2], recorder.port, flush=True)
        while not ended.done():
            records.report({}, {})
            await asyncio.sleep(_REPORT_S)


@contextmanager
def lone_gateway(config: GatewayConfig | None = None) -> Iterator[Target]:
    """One that runs for as long as the block does."""
    config = config or GatewayConfig()
    command = [sys.executable, "-m", "tests.abuse.lone_gateway", config.model_dump_json(exclude_defaults=True)]
    quiet = {**os.environ, "GRPC_VERBOSITY": "NONE"}  # not a line for each header that gRPC cannot read
    with Popen(command, env=quiet, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        with process.stdin:
            http_port, grpc_port, metrics_port = map(int, process.stdout.readline().split())
            yield Target(
                {Door.HTTP: http_port, Door.GRPC: grpc_port},
                f"http://{HOST}:{metrics_port}/metrics",
                psutil.Process(process.pid),
                config.max_body_bytes,
            )


if __name__ == "__main__":
    asyncio.run(_serve(GatewayConfig.model_validate_json(sys.argv[1])))
