"""The metrics of a running service, as Prometheus' own parser reads them from a node."""

import asyncio
from collections.abc import Callable

import grpc
import httpx
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from prometheus_client.parser import text_string_to_metric_families

from serving.telemetry.metrics import ADAPTER_DIRECTORY_AGE, EXPORTED, FAILED_ATTEMPTS
from tests.service.conftest import CHAT, FIM, Service

Samples = dict[str, list[tuple[dict[str, str], float]]]
PLAIN = EXPORTED.difference(FAILED_ATTEMPTS.exported, ADAPTER_DIRECTORY_AGE.exported)
"""What a service has that asks for no keys and serves no adapters."""


async def scraped(service: Service, enough: Callable[[Samples], bool]) -> Samples:
    """What the node says once `enough` is there; Ray passes measurements on every few seconds."""
    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while True:
            text = (await client.get(service.metrics_url)).raise_for_status().text
            samples: Samples = {}
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    samples.setdefault(sample.name, []).append((sample.labels, sample.value))
            if enough(samples):
                return samples
            await asyncio.sleep(0.5)


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for found, value in samples.get(name, []) if labels.items() <= found.items())


async def test_every_metric_is_there_once_the_service_has_answered(service: Service, channel: grpc.Channel) -> None:
    before = await scraped(service, lambda samples: "ray_codegemma_requests_total" in samples)
    fim = {"prompt": "def f", "suffix": "\n", "max_tokens": 4, "temperature": 1}
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        (await client.post("/v1/completions", json=fim)).raise_for_status()
    CodeAssistServiceStub(channel).Chat(
        pb.ChatRequest(messages=[{"role": "ROLE_USER", "text": "Hi"}], generation_config={"max_tokens": 4})
    )
    ended = "ray_codegemma_requests_total"
    http = {"model": FIM, "role": "fim", "protocol": "http", "reason": "ok"}
    grpc_chat = {"model": CHAT, "role": "chat", "protocol": "grpc", "reason": "ok"}

    def both_counted(samples: Samples) -> bool:
        return all(total(samples, ended, **labels) > total(before, ended, **labels) for labels in (http, grpc_chat))

    samples = await scraped(service, lambda samples: both_counted(samples) and samples.keys() >= PLAIN)
    assert total(samples, "ray_codegemma_ready_groups", model=FIM) == 1
    assert total(samples, "ray_codegemma_kv_tokens", model=FIM) == service.model(FIM).limits.kv_tokens
    assert 0 < total(samples, "ray_codegemma_step_limit_seconds", model=FIM) < 1
    assert total(samples, "ray_codegemma_recompilations_total") == 0
    assert total(samples, "ray_codegemma_autoscaling_target_replicas", deployment=CHAT) == 1
    fast = {"model": FIM, "le": "0.005"}  # what Ray's own buckets would not tell apart
    assert any(
        fast.items() <= labels.items() for labels, _ in samples["ray_codegemma_time_to_first_token_seconds_bucket"]
    )
