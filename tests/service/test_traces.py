"""One request's way through a running service, as spans in a file: over both protocols, down to the device steps."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.prompt_pb2 import FimInput

from tests.service.conftest import FIM, Service

TOKENS = 5
SECRET = "nobody_may_read_this"


async def spans_of(service: Service, trace_id: str) -> list[dict[str, Any]]:
    """All spans of a trace, once the last process has written its own."""
    async with asyncio.timeout(60):
        while True:
            lines = service.trace_file.read_text().splitlines() if service.trace_file.exists() else []
            spans = [span for span in map(json.loads, lines) if span["context"]["trace_id"] == f"0x{trace_id}"]
            phases = [span for span in spans if span["name"] in ("prefill", "decode")]
            steps = sum(span["name"] == "device step" for span in spans)
            due = sum(phase["attributes"]["steps"] for phase in phases)  # written after their phase
            if "fim" in {span["name"] for span in spans} and len(phases) == 2 and steps == due:
                return spans
            await asyncio.sleep(0.2)


async def over_http(service: Service, traceparent: str, suffix: str) -> None:
    body = {"prompt": SECRET, "suffix": suffix, "max_tokens": TOKENS, "temperature": 1}
    headers = {"traceparent": traceparent, "x-request-id": f"traced{suffix}"}
    async with httpx.AsyncClient(timeout=60) as client:
        (await client.post(f"{service.url}/v1/completions", json=body, headers=headers)).raise_for_status()


async def over_grpc(service: Service, traceparent: str, suffix: str) -> None:
    request = pb.CompleteRequest(
        fim=FimInput(prefix=SECRET, suffix=suffix),
        generation_config={"max_tokens": TOKENS, "temperature": 1},
        request_id=f"traced{suffix}",
    )
    async with grpc.aio.insecure_channel(service.grpc_target) as channel:
        await CodeAssistServiceStub(channel).Complete(request, metadata=[("traceparent", traceparent)])


Ask = Callable[[Service, str, str], Awaitable[None]]


@pytest.mark.parametrize(("ask", "protocol"), [(over_http, "http"), (over_grpc, "grpc")])
async def test_a_trace_goes_from_the_client_to_each_device_step(service: Service, ask: Ask, protocol: str) -> None:
    trace_id, client_span = f"{protocol.encode().hex():0>32}", "00000000000000aa"
    await ask(service, f"00-{trace_id}-{client_span}-01", f"-{protocol}")
    spans = await spans_of(service, trace_id)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        by_name.setdefault(span["name"], []).append(span)
    [request], [wait], [queue], [prefill], [decode] = (
        by_name[name] for name in ("fim", "wait for a group", "queue", "prefill", "decode")
    )
    assert request["parent_id"] == f"0x{client_span}"
    assert request["attributes"]["codegemma.request_id"] == f"traced-{protocol}"
    assert request["attributes"]["codegemma.protocol"] == protocol
    assert request["attributes"]["gen_ai.response.model"] == FIM
    assert {span["parent_id"] for span in (wait, queue, prefill, decode)} == {request["context"]["span_id"]}
    steps = by_name["device step"]
    assert {step["parent_id"] for step in steps} == {prefill["context"]["span_id"], decode["context"]["span_id"]}
    assert len(steps) == prefill["attributes"]["steps"] + decode["attributes"]["steps"]
    assert decode["attributes"]["steps"] <= TOKENS - 1  # a stop may come earlier
    assert queue["start_time"] <= queue["end_time"] <= prefill["start_time"] <= decode["end_time"]
    assert SECRET not in json.dumps(spans)


async def test_a_request_whose_client_says_not_to_is_not_followed(service: Service) -> None:
    unwanted, wanted = f"{1:032x}", f"{2:032x}"
    await over_http(service, f"00-{unwanted}-00000000000000aa-00", "-unwanted")
    await over_http(service, f"00-{wanted}-00000000000000aa-01", "-wanted")
    await spans_of(service, wanted)
    assert unwanted not in service.trace_file.read_text()
