"""No text in a structured field of any HTTP API becomes a control token of the prompt that the engine receives."""

from collections.abc import Iterator

import httpx
import pytest

from serving.config import GatewayConfig
from serving.gateway.http.app import build_http_app
from serving.gateway.http.openapi.components import reference
from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.http.openapi.document import DOCUMENT, operations
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service
from tests.gateway.sentinels.fields import Json, text_fields
from tests.gateway.sentinels.injection import Context, Injection

_SCHEMAS = DOCUMENT["components"]["schemas"]
_USER = [{"role": "user", "content": "a"}]
_MODEL = {"model": "default"}
_RAW = frozenset({"prompt", "prompt[]"})
_CONTEXTS: dict[str, list[Context]] = {
    "openai.CompletionBody": [Context({"prompt": "a", "suffix": "b"}), Context({"prompt": "a"}, _RAW)],
    "openai.ChatBody": [Context({"messages": _USER})],
    "openai.ResponseBody": [Context({"input": _USER})],
    "llama.cpp.InfillBody": [Context({"input_prefix": "a"})],
    "llama.cpp.CompletionBody": [Context({"prompt": "a"}, _RAW)],
    "llama.cpp.ChatBody": [Context({"messages": _USER})],
    "llama.cpp.TokenizeBody": [Context({}), Context({"content": "a"})],
    "llama.cpp.DetokenizeBody": [Context({"tokens": [5]})],
    "tabby.CompletionBody": [Context({"segments": {"prefix": "a"}}, frozenset({"debug_options.raw_prompt"}))],
    "tabby.EventBody": [Context({"type": "view"})],
    "ollama.ModelBody": [Context(_MODEL)],
    "ollama.GenerateBody": [
        Context({**_MODEL, "prompt": "a", "suffix": "b"}),
        Context({**_MODEL, "prompt": "a", "system": "b"}),
        Context({**_MODEL, "prompt": "a"}, _RAW),
        Context({**_MODEL, "prompt": "a", "raw": True}, _RAW),
    ],
    "ollama.ChatBody": [Context({**_MODEL, "messages": _USER})],
    "mistral.FimBody": [Context({"prompt": "a"})],
    "anthropic.MessageBody": [Context({"messages": _USER, "max_tokens": 1})],
    "anthropic.ConversationBody": [Context({"messages": _USER})],
}
"""Type of a body -> bodies that are answered, one for each kind of prompt that it may be. A new type has to be here."""
_NAMES = frozenset({"model"})
"""Fields with which no text is answered, as they name something."""


def _bodies() -> Iterator[Json]:
    for method, path, operation in operations():
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            for kind in schema.get("anyOf", [schema]):
                yield pytest.param(method, path, reference(kind), id=f"{path} {reference(kind)}")


@pytest.mark.parametrize("vocabulary", ["codegemma", "gemma3"])
@pytest.mark.parametrize(("method", "path", "kind"), list(_bodies()))
async def test_no_text_of_a_structured_field_becomes_a_control_token(
    request: pytest.FixtureRequest, vocabulary: str, method: str, path: str, kind: str
) -> None:
    backend = ScriptedBackend(request.getfixturevalue(vocabulary), "a")
    injection = await _injected(backend, method, path, kind)
    assert not injection.found, "\n".join(injection.found[:5])
    assert {each.path for each in injection.fields} - injection.answered <= _NAMES
    assert injection.arrived or not injection.has_prompts


@pytest.mark.parametrize(
    ("path", "kind", "noticed"),
    [
        ("/v1/messages", "anthropic.MessageBody", "system + messages[].content"),
        ("/v1/chat/completions", "openai.ChatBody", "messages[].content[].text + messages[].content[].text"),
        ("/infill", "llama.cpp.InfillBody", "input_prefix + prompt"),
    ],
)
async def test_a_renderer_that_reads_sentinels_in_texts_would_be_noticed(
    codegemma: Tokenizer, monkeypatch: pytest.MonkeyPatch, path: str, kind: str, noticed: str
) -> None:
    plain = Tokenizer.encode

    def careless(self: Tokenizer, text: str, limit: int | None = None) -> list[int]:
        parts = self._sentinel_pattern.split(text.replace("\n", ""))  # as if texts were joined without line breaks
        return [
            each for part in parts for each in ([self._control[part]] if part in self._control else plain(self, part))
        ]

    monkeypatch.setattr(Tokenizer, "encode", careless)
    injection = await _injected(ScriptedBackend(codegemma, "a"), "POST", path, kind)
    found = {each.partition(": ")[0] for each in injection.found}
    assert {each.path for each in injection.fields if each.path in injection.arrived} <= found
    assert noticed in found


async def _injected(backend: ScriptedBackend, method: str, path: str, kind: str) -> Injection:
    service = one_model_service(backend)
    transport = httpx.ASGITransport(build_http_app(lambda: service, GatewayConfig()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

        async def ask(body: Json) -> bool:
            response = await client.request(method, path, json=body)
            assert response.status_code < 500, response.text
            return response.is_success

        injection = Injection(ask, backend, _CONTEXTS[kind], text_fields(_SCHEMAS[kind], _SCHEMAS))
        await injection.run()
    return injection
