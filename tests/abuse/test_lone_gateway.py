"""The suite against a Gateway without Ray: what is of the Gateway itself, many inputs in a few seconds."""

from collections.abc import Iterator

import pytest

from tests.abuse.lone_gateway import lone_gateway
from tests.abuse.suite import run_kind, told
from tests.abuse.target import Target

_SEED = 1
_COUNTS = {"json": 1000, "grpc": 1000, "http2": 500, "large": 25}


@pytest.fixture
def gateway() -> Iterator[Target]:
    with lone_gateway() as target:
        yield target


@pytest.mark.parametrize("kind", _COUNTS)
async def test_hostile_inputs_get_errors_and_hold_nobody_up(gateway: Target, kind: str) -> None:
    report = await run_kind(gateway, _SEED, kind, range(_COUNTS[kind]))
    assert not report.faults, "\n".join(told(report.faults, _SEED))
