"""A limit is one limit for two Gateways in processes of their own, however many clients ask at once."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.access.config import QuotasConfig
from serving.config import GatewayConfig
from tests.abuse.lone_gateway import lone_gateway
from tests.abuse.target import HOST, Door
from tests.redis_server import needs_redis, running_redis

CLIENTS = 64
REQUESTS = 150
TOKENS = 2500
_BODY = {"prompt": "a", "suffix": "b", "max_tokens": 30}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Their URLs."""
    tenants = {"asks": {"requests_per_minute": REQUESTS}, "takes": {"tokens_per_minute": TOKENS}}
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        quotas = QuotasConfig.model_validate({"redis": url, "tenants": tenants})
        config = GatewayConfig(anyone=True, replicas=2, quotas=quotas)
        with lone_gateway(config) as one, lone_gateway(config) as other:
            yield [f"http://{HOST}:{gateway.ports[Door.HTTP]}" for gateway in (one, other)]


async def asked(urls: list[str], tenant: str, requests: int, clients: int = CLIENTS) -> list[httpx.Response]:
    """The answers to all clients, each of which asks one Gateway so often, one after the other."""

    async def client(number: int) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=urls[number % 2], headers={"x-tenant-id": tenant}, timeout=60) as client:
            return [await client.post("/v1/completions", json=_BODY) for _ in range(requests)]

    answers = await asyncio.gather(*(client(number) for number in range(clients)))
    return [answer for of_one in answers for answer in of_one]


def admitted(answers: list[httpx.Response], limit: str) -> list[dict[str, Any]]:
    for answer in answers:
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert limit in answer.json()["error"]["message"]
            assert int(answer.headers["retry-after"]) >= 1
    return [answer.json() for answer in answers if answer.status_code == 200]


@needs_redis
async def test_requests_are_exactly_as_many_as_the_limit(gateways: list[str]) -> None:
    answers = await asked(gateways, "asks", requests=3)
    assert len(admitted(answers, "requests_per_minute")) == REQUESTS


@needs_redis
async def test_tokens_come_within_2_percent_of_the_limit_and_never_beyond(gateways: list[str]) -> None:
    answers = await asked(gateways, "takes", requests=2)
    answers += await asked(gateways, "takes", requests=1, clients=1)
    while answers[-1].status_code == 200:  # until what is left is less than any request may take
        answers += await asked(gateways, "takes", requests=1, clients=1)
    tokens = sum(answer["usage"]["total_tokens"] for answer in admitted(answers, "tokens_per_minute"))
    assert 0.98 * TOKENS <= tokens <= TOKENS
