"""The real service around simulated groups."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray import serve

from serving.app import application
from tests.service.ray_cluster import Addresses, cluster
from tests.service.simulated_group import STEP_S, SimulatedGroup, simulated_service


@contextmanager
def simulated_cluster(step_s: float) -> Iterator[Addresses]:
    """A cluster whose groups take `step_s` seconds for a step."""
    with cluster({STEP_S: str(step_s)}) as addresses:
        yield addresses


def deploy(*, groups: int, rows: int, gateways: int = 1) -> None:
    """Starts the service with so many groups and Gateways, or changes it to that."""
    limits = {"max_rows": rows, "max_context": 512, "kv_tokens": 512 * rows, "max_queue": 1000}
    config = simulated_service("simulated", limits, gateways, replicas=groups)
    serve.run(application(config, SimulatedGroup), name="simulated")
