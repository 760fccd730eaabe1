"""One cluster for all tests of the whole service: Ray Serve, HAProxy, Gateway and two tiny models."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest
from ray import serve

from serving.app import build
from serving.config import ModelConfig, ServingConfig
from serving.engine.stats import EngineStats
from serving.gateway.groups.discovery import wake, watch
from serving.gateway.groups.pool import GroupPool
from tests.service.ray_cluster import cluster
from tests.service.tiny_codegemma import write_tiny_codegemma

FIM = "codegemma-tiny"
CHAT = "codegemma-tiny-it"
APP = "codegemma"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with services of their own come first: the one for all takes a third of a processor once it is there."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent == here and "service" in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class Service:
    """The running service's addresses, and a look into its engines."""

    url: str
    grpc_target: str
    metrics_url: str
    trace_file: Path
    config: ServingConfig

    def model(self, model_id: str) -> ModelConfig:
        """The configuration of one of the models."""
        [model] = (model for model in self.config.models if model.id == model_id)
        return model

    def stats(self, model: str) -> EngineStats:
        """Where the engine of a model stands."""
        stats: list[EngineStats] = serve.get_deployment_handle(model, APP).broadcast("stats").results(timeout_s=30)
        return stats[0]

    def recompilations(self, model: str) -> int:
        """Compilations of a model's steps after it was ready."""
        counts: list[int] = serve.get_deployment_handle(model, APP).broadcast("recompilations").results(timeout_s=30)
        return counts[0]


@asynccontextmanager
async def groups_of(model: ModelConfig, app: str) -> AsyncIterator[GroupPool]:
    """The groups of a model, as a Gateway in this process would see them."""
    handle = serve.get_deployment_handle(model.id, app)
    pool = GroupPool(model, partial(wake, handle))
    watch(handle, pool.update)
    try:
        yield pool
    finally:
        watch(handle, lambda groups: None)
        await pool.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    checkpoint = str(write_tiny_codegemma(tmp_path_factory.mktemp("codegemma-tiny")))
    limits = {"max_rows": 4, "max_step_tokens": 64, "max_context": 4096, "page_size": 32, "kv_tokens": 16384}
    models = [
        {"id": FIM, "checkpoint": checkpoint, "roles": ["fim"], "dtype": "float32", "limits": limits},
        {"id": CHAT, "checkpoint": checkpoint, "roles": ["chat"], "dtype": "float32", "limits": limits}
        | {"autoscaling": {"min_replicas": 1, "max_replicas": 1, "metrics_interval_s": 10}},
    ]
    trace_file = tmp_path_factory.mktemp("traces") / "spans.jsonl"
    tracing = {"CODEGEMMA_TRACE_FILE": str(trace_file), "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    with cluster(tracing) as addresses:
        serve.run(build({"models": models}), name=APP)
        config = ServingConfig.model_validate({"models": models})
        yield Service(addresses.url, addresses.grpc_target, addresses.metrics_url, trace_file, config)


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.grpc_target) as channel:
        yield channel
