"""The OpenAPI document says which numbers are refused, and no others are."""

import httpx
import pytest

from tests.gateway.http.openapi.document import DOCUMENT, Json, faults

_TURNS = [{"role": "user", "content": "Hi"}]
_OLLAMA = {"model": "codegemma-test", "logprobs": True}
_BODIES: list[tuple[str, str, Json]] = [
    ("/v1/completions", "openai.CompletionBody", {"prompt": "a"}),
    ("/v1/completions", "tabby.CompletionBody", {"segments": {"prefix": "a"}}),
    ("/v1/chat/completions", "openai.ChatBody", {"messages": _TURNS, "logprobs": True}),
    ("/v1/responses", "openai.ResponseBody", {"input": "Hi"}),
    ("/infill", "llama.cpp.InfillBody", {"input_prefix": "a"}),
    ("/completion", "llama.cpp.CompletionBody", {"prompt": "a"}),
    ("/api/generate", "ollama.GenerateBody", {**_OLLAMA, "prompt": "a"}),
    ("/api/generate", "ollama.Options", {**_OLLAMA, "prompt": "a"}),
    ("/api/chat", "ollama.ChatBody", {**_OLLAMA, "messages": _TURNS}),
    ("/v1/fim/completions", "mistral.FimBody", {"prompt": "a"}),
    ("/v1/messages", "anthropic.MessageBody", {"messages": _TURNS, "max_tokens": 9}),
]
_NUMBERS = (-(10**9), -101, -100, -2, -1, 0, 0.005, 0.01, 0.5, 1, 2, 2.5, 8, 9, 20, 21, 100, 101, 10**9)
_AS_ANOTHER_FIELD = {"best_of"}
"""What their range is depends on the rest of the body."""


@pytest.mark.parametrize(("path", "component", "body"), _BODIES, ids=[f"{path} {name}" for path, name, _ in _BODIES])
async def test_a_number_is_refused_where_it_is_out_of_the_described_range(
    client: httpx.AsyncClient, path: str, component: str, body: Json
) -> None:
    fields = DOCUMENT["components"]["schemas"][component]["properties"]
    numeric = {name for name, field in fields.items() if not faults(field, 1)} - _AS_ANOTHER_FIELD
    assert "temperature" in numeric or "top_logprobs" in numeric
    for name in numeric:
        for number in _NUMBERS:
            said = {"options": {name: number}} if component.endswith(".Options") else {name: number}
            answer = await client.post(path, json={**body, **said})
            is_refused = answer.status_code == 400  # of a time limit of few ms, 504 may come
            assert is_refused == bool(faults(fields[name], number)), (name, number, answer.text)
            assert not is_refused or name in answer.text
