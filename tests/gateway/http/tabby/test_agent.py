"""The requests of Tabby's agent: their shapes, and answers that the agent can read."""

import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.feedback.feedback import CompletionEvent
from serving.gateway.http.app import build_http_app
from serving.gateway.http.tabby.requests import completion_request
from serving.gateway.http.tabby.schema import CompletionBody
from serving.gateway.records import RequestRecords
from serving.gateway.service import CodeService
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import SENTINELS, Tokenizer
from serving.telemetry import metrics
from tests.gateway.scripted_backend import ScriptedBackend, served_model
from tests.telemetry.memory_recorder import MemoryRecorder

SEGMENTS = {"prefix": "def area(r):\n    ", "suffix": "\n\nprint(area(2))\n"}
injections = st.lists(st.one_of(st.sampled_from(SENTINELS), st.text(max_size=6)), max_size=5).map("".join)


async def complete(client: httpx.AsyncClient, **body: object) -> Any:
    response = await client.post("/v1/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_segments_are_filled_in(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    headers = {"x-request-id": "abc"}
    response = await client.post("/v1/completions", json={"language": "python", "segments": SEGMENTS}, headers=headers)
    answer = response.json()
    assert re.match("cmpl-abc-[0-9a-f]{8}:codegemma-test:a%20checkpoint:python:1:9:", answer.pop("id"))
    assert answer == {"choices": [{"index": 0, "text": "return 1\n"}]}
    encode = backend.tokenizer.encode
    [request] = backend.requests
    assert request.prompt_ids == (2, 67, *encode(SEGMENTS["prefix"]), 69, *encode(SEGMENTS["suffix"]), 68)
    assert (request.max_tokens, request.sampling.temperature) == (64, 0)


async def test_what_the_editor_knows_of_other_files_comes_first(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    snippets = {
        "filepath": "now.py",
        "git_url": "git@example.com:a/b.git",
        "declarations": [{"filepath": "d.py", "body": "D"}],
        "relevant_snippets_from_changed_files": [{"filepath": "c.py", "body": "C", "score": 0.5}],
        "relevant_snippets_from_recently_opened_files": [{"filepath": "o.py", "body": "O"}],
        "clipboard": "clip",
    }
    await complete(client, language="python", segments={**SEGMENTS, **snippets}, user="me", temperature=0.1, seed=7)
    encode = backend.tokenizer.encode
    files = [token for text in ("o.py\nO", "c.py\nC", "d.py\nD") for token in (*encode(text), 70)]
    [request] = backend.requests
    assert list(request.prompt_ids[1 : 1 + len(files)]) == files
    assert (request.sampling.temperature, request.sampling.seed) == (0.1, 7)


async def test_a_raw_prompt_is_continued(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for segments in (None, SEGMENTS):
        await complete(client, segments=segments, debug_options={"raw_prompt": "<|fim_prefix|>a<|fim_middle|>"})
    encode = backend.tokenizer.encode
    assert {request.prompt_ids for request in backend.requests} == {(2, 67, *encode("a"), 68)}


@pytest.mark.parametrize("fields", [{"seed": 2**63}, {"seed": -1}, {"seed": None}, {"temperature": None}, {"x": 1}])
async def test_values_whose_meaning_is_plain_are_taken(client: httpx.AsyncClient, fields: dict[str, object]) -> None:
    await complete(client, segments={**SEGMENTS, "filepath": None, "suffix": None}, **fields)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"segments": {"prefix": "", "suffix": ""}}, "segments.prefix is empty"),
        ({"segments": {"suffix": "x"}}, "segments.prefix is required."),
        ({"segments": 5}, "segments is 5"),
        ({"segments": {**SEGMENTS, "declarations": [{"body": ""}]}}, "segments.declarations[0].filepath is required."),
        ({"debug_options": {"raw_prompt": ""}}, "debug_options.raw_prompt is empty"),
        ({"segments": SEGMENTS, "temperature": 9.0}, "temperature is 9.0"),
    ],
)
async def test_faults_are_in_tabbys_form(client: httpx.AsyncClient, body: dict[str, object], fault: str) -> None:
    response = await client.post("/v1/completions", json=body)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert response.json()["error"].startswith(fault)


async def test_failures_of_the_service_are_in_tabbys_form(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.error = ServingError(Reason.OVERLOADED, "Too many.")
    response = await client.post("/v1/completions", json={"segments": SEGMENTS})
    assert (response.status_code, response.json()) == (429, {"error": "Too many."})
    assert (await client.get("/v1/events")).json() == {"error": "/v1/events does not take GET, but POST."}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_health_has_all_that_the_agent_looks_for(client: httpx.AsyncClient, method: str) -> None:
    health = (await client.request(method, "/v1/health")).json()
    assert (health["model"], health["chat_model"]) == ("codegemma-test", "codegemma-test")
    assert health["version"]["git_describe"].startswith("v")
    assert set(health) >= {"device", "arch", "cpu_info", "cpu_count", "cuda_devices"}


async def test_the_agent_is_to_send_its_measurements_nowhere(client: httpx.AsyncClient) -> None:
    setting = await client.get("/v1beta/server_setting")
    assert setting.json() == {"disable_client_side_telemetry": True}


async def test_events_are_counted_for_the_model_that_answered(backend: ScriptedBackend) -> None:
    models = [served_model(backend, "2b", Role.FIM), served_model(backend, "7b", Role.CHAT)]
    recorder = MemoryRecorder()
    records = RequestRecords(recorder, [model.config for model in models])
    service = CodeService(models, GatewayConfig(), records=records, access=OpenAccess())
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        ids = [(await complete(client, language="go", segments=SEGMENTS))["id"] for _ in range(3)]
        for completion_id, kind, query in (
            *((completion_id, "view", "") for completion_id in (*ids, ids[0])),
            (ids[0], "select", ""),
            (ids[1], "select", "?select_kind=line"),
            (ids[2], "dismiss", ""),
            (ids[2], "else", ""),
        ):
            event = {"type": kind, "completion_id": completion_id, "choice_index": 0, "view_id": "v", "elapsed": 12}
            assert (await client.post(f"/v1/events{query}", json=event)).status_code == 200
        for unknown in ("", "cmpl-x:gpt:1:go:1:1", "2b", ":"):
            assert (await client.post("/v1/events", json={"type": "view", "completion_id": unknown})).status_code == 200
    labels = {"model": "2b", "model_version": "a checkpoint", "language": "go", "lines": "1"}
    counted = {event: recorder.total(metrics.COMPLETION_EVENTS, **labels, event=event) for event in CompletionEvent}
    assert counted == {"shown": 3, "accepted": 1, "partly_accepted": 1, "rejected": 1}
    assert recorder.total(metrics.COMPLETION_EVENTS) == 6


@settings(deadline=None, max_examples=200)
@given(
    prefix=injections.filter(bool), suffix=injections, filepath=injections, snippets=st.lists(injections, max_size=3)
)
def test_no_text_of_segments_becomes_a_control_token(
    codegemma: Tokenizer, prefix: str, suffix: str, filepath: str, snippets: list[str]
) -> None:
    segments = {
        "prefix": prefix,
        "suffix": suffix,
        "filepath": filepath,
        "declarations": [{"filepath": text, "body": text} for text in snippets],
    }
    request = completion_request(CompletionBody.model_validate({"segments": segments}))
    ids = PromptRenderer(codegemma, "psm").render(request.prompt, 10_000)
    files = {text for text in snippets if text.strip()}
    assert [token_id for token_id in ids if token_id in codegemma.control_ids] == [2, *[70] * len(files), 67, 69, 68]
