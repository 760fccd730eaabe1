"""The demo's model in this process, behind a real link: all of the service but Ray."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from serving.cli.serve_file import demo_file, read_serve_file
from serving.config import GatewayConfig, ModelConfig
from serving.engine.engine import Engine
from serving.engine.loop import EngineThread
from serving.gateway.access import OpenAccess
from serving.gateway.groups.pool import GroupPool
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from serving.gateway.single_flight import SingleFlight
from serving.gateway.text.tokenizers import load_tokenizer
from serving.group.loading import load_local_runner
from serving.group.server import GroupServer
from serving.link import GroupAddress
from serving.models.checkpoint_path import checkpoint_path


def demo_model(**limits: int) -> ModelConfig:
    """The demo's model, with limits of its own where there are any."""
    [model] = read_serve_file(demo_file()).config.models
    return ModelConfig.model_validate({**model.model_dump(), "limits": limits or model.limits.model_dump()})


@contextmanager
def replica_group(model: ModelConfig) -> Iterator[GroupAddress]:
    """A group of the model for as long as the block runs."""
    engine = Engine(load_local_runner(model, lambda phase, done, total: None), max_queue=model.limits.max_queue)
    server = GroupServer(engine, "127.0.0.1")
    thread = EngineThread(engine, after_step=server.after_step)
    thread.start()
    try:
        yield server.start()
    finally:
        thread.stop(drain=False, timeout_s=30)
        server.stop()


@asynccontextmanager
async def service_of(model: ModelConfig, group: GroupAddress) -> AsyncIterator[CodeService]:
    """A service whose only group this is."""

    async def wake() -> None:
        """The group is there."""

    pool = GroupPool(model, wake)
    pool.update({"first": group})
    tokenizer = load_tokenizer(checkpoint_path(model.checkpoint), model.tokenizer)
    served = ServedModel(
        config=model, tokenizer=tokenizer, backend=SingleFlight(pool), max_context=model.limits.max_context
    )
    try:
        yield CodeService([served], GatewayConfig(), access=OpenAccess())
    finally:
        await pool.close()
