"""A minute of the abuse suite, with inputs of a new seed each day; `make abuse` runs it at length."""

from datetime import UTC, datetime

from tests.abuse.suite import counted, run, told
from tests.abuse.target import Target
from tests.service.conftest import Service
from tests.service.ray_cluster import Addresses

_INPUTS = 1500


async def test_hostile_inputs_get_errors_and_leave_nothing_behind(service: Service) -> None:
    seed = datetime.now(UTC).toordinal()
    addresses = Addresses(service.url, service.grpc_target, service.metrics_url)
    target = Target.find(addresses, service.config.gateway.max_body_bytes)
    faults = [fault async for report in run(target, seed, counted(_INPUTS)) for fault in report.faults]
    assert not faults, "\n".join(["python -m tests.abuse:", *told(faults, seed)])
