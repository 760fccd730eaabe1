"""min_p, penalties and biases: each API's fields become those of the engine, or are refused in the API's words."""

import json
import math

import httpx
import pytest

from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import MAX_BIASES
from tests.gateway.scripted_backend import ScriptedBackend

BODIES: dict[str, dict[str, object]] = {
    "/v1/completions": {"prompt": "x"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/fim/completions": {"prompt": "x"},
    "/infill": {"prompt": "x"},
    "/completion": {"prompt": "x"},
    "/api/generate": {"model": "default", "prompt": "x", "stream": False},
    "/api/chat": {"model": "default", "messages": [{"role": "user", "content": "x"}], "stream": False},
}
OPENAI, LLAMACPP, OLLAMA, MISTRAL = (
    ("/v1/completions", "/v1/chat/completions"),
    ("/infill", "/completion"),
    ("/api/generate", "/api/chat"),
    ("/v1/fim/completions",),
)
WHOLE_CONTEXT = 2**31 - 1


async def ask(client: httpx.AsyncClient, path: str, fields: dict[str, object]) -> httpx.Response:
    if path in OLLAMA:
        fields = {"options": fields}
    return await client.post(path, json=BODIES[path] | fields)


@pytest.mark.parametrize("path", BODIES)
async def test_a_request_without_them_has_no_penalties_and_no_biases(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str
) -> None:
    assert (await ask(client, path, {})).status_code == 200
    sampling = backend.requests[0].sampling
    assert (sampling.has_penalties, sampling.penalty_window, sampling.logit_bias) == (False, None, ())
    assert sampling.min_p == (0.05 if path in LLAMACPP else 0)


@pytest.mark.parametrize("path", [*OPENAI, *MISTRAL])
async def test_openais_penalties_count_what_was_generated(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str
) -> None:
    response = await ask(client, path, {"presence_penalty": 0.5, "frequency_penalty": -1})
    assert response.status_code == 200, response.text
    sampling = backend.requests[0].sampling
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.penalty_window) == (0.5, -1, None)


@pytest.mark.parametrize("path", [*LLAMACPP, *OLLAMA])
@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({}, 64),
        ({"repeat_last_n": 5}, 5),
        ({"repeat_last_n": -1}, WHOLE_CONTEXT),
        ({"repeat_last_n": 2**70}, WHOLE_CONTEXT),
    ],
)
async def test_llama_cpps_penalties_count_the_last_tokens(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str, fields: dict[str, object], window: int
) -> None:
    asked = {"repeat_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": 0.25, "min_p": 0.2, **fields}
    response = await ask(client, path, asked)
    assert response.status_code == 200, response.text
    sampling = backend.requests[0].sampling
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (1.1, 0.5, 0.25)
    assert (sampling.penalty_window, sampling.min_p) == (window, 0.2)


@pytest.mark.parametrize("path", [*LLAMACPP, *OLLAMA, *OPENAI])
async def test_penalties_of_the_last_0_tokens_are_none(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str
) -> None:
    await ask(client, path, {"repeat_penalty": 1.1, "presence_penalty": 0.5, "repeat_last_n": 0})
    sampling = backend.requests[0].sampling
    assert (sampling.has_penalties, sampling.penalty_window) == (False, None)


@pytest.mark.parametrize("path", OPENAI)
@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({"repetition_penalty": 1.2}, None),
        ({"repeat_penalty": 1.2}, 64),
        ({"repetition_penalty": 1.2, "repeat_last_n": 7}, 7),
    ],
)
async def test_openais_routes_know_vllms_word_and_llama_cpps(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str, fields: dict[str, object], window: int | None
) -> None:
    assert (await ask(client, path, fields)).status_code == 200
    sampling = backend.requests[0].sampling
    assert (sampling.repetition_penalty, sampling.penalty_window) == (1.2, window)


@pytest.mark.parametrize("path", [*OPENAI, *LLAMACPP])
async def test_biases_in_every_form(
    client: httpx.AsyncClient, backend: ScriptedBackend, codegemma: Tokenizer, path: str
) -> None:
    [comma] = codegemma.encode(",")
    asked: list[tuple[object, dict[int, float]]] = [
        ({"7": 1.5, "9": -100}, {7: 1.5, 9: -100}),
        ({"7": False, ",": 2}, {7: -math.inf, comma: 2}),
        ([[7, 1.5], [9, False], [",", -1]], {7: 1.5, 9: -math.inf, comma: -1}),
        ([[7, 1], [7, 2], [8, 0]], {7: 3}),
        ({"7": 10**400, "8": -(10**400), "9": 1e6}, {7: 1000, 8: -1000, 9: 1000}),
        ({"256000": 1, "999999999999": 1}, {}),
        ([[-1, 1]], {}),
        (False, {}),
    ]
    for biases, expected in asked:
        response = await ask(client, path, {"logit_bias": biases})
        assert response.status_code == 200, response.text
        assert dict(backend.requests[-1].sampling.logit_bias) == expected
    text = "def fibonacci"
    await ask(client, path, {"logit_bias": [[text, 2.5]]})
    assert dict(backend.requests[-1].sampling.logit_bias) == dict.fromkeys(codegemma.encode(text), 2.5)


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        *((path, {"logit_bias": "x"}, "logit_bias") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"logit_bias": {"5": True}}, "logit_bias") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"logit_bias": [[5, 1], [6]]}, "logit_bias") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"logit_bias": [[None, 1]]}, "logit_bias") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"logit_bias": {str(i): 1 for i in range(301)}}, "logit_bias") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"logit_bias": [["a" * 4097, 1]]}, "logit_bias") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"presence_penalty": 101}, "presence_penalty") for path in (*OPENAI, *LLAMACPP, *MISTRAL)),
        *((path, {"frequency_penalty": "1"}, "frequency_penalty") for path in (*OPENAI, *LLAMACPP, *MISTRAL)),
        *((path, {"min_p": "x"}, "min_p") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"min_p": -0.1}, "min_p") for path in OPENAI),
        *((path, {"repetition_penalty": 0}, "repetition_penalty") for path in OPENAI),
        *((path, {"repeat_penalty": 0}, "repeat_penalty") for path in (*OPENAI, *LLAMACPP)),
        *((path, {"repeat_penalty": 0}, "options.repeat_penalty") for path in OLLAMA),
        *((path, {"presence_penalty": -101}, "options.presence_penalty") for path in OLLAMA),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str, fields: dict[str, object], field: str
) -> None:
    response = await ask(client, path, fields)
    assert response.status_code == 400
    assert f'"{field}' in response.text.replace('\\"', ""), response.text
    assert not backend.requests


async def test_texts_of_too_many_tokens_are_refused_with_their_number(
    client: httpx.AsyncClient, codegemma: Tokenizer
) -> None:
    texts = ["".join(map(chr, range(start, start + 100))) for start in range(0x4E00, 0x5600, 100)]
    tokens = {token for text in texts for token in codegemma.encode(text)}
    assert len(tokens) > MAX_BIASES
    response = await ask(client, "/completion", {"logit_bias": [[text, 1] for text in texts]})
    assert response.status_code == 400
    assert f"has texts of {len(tokens)} tokens" in response.text


async def test_llama_vims_instruct_request_is_answered(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    body = {
        "messages": [
            {"role": "system", "content": "Apply the INSTRUCTION to the SELECTION."},
            {"role": "user", "content": "INSTRUCTION: make it 20"},
        ],
        "temperature": 0.1,
        "id_slot": 0,
        "samplers": ["min_p", "temperature"],
        "model": "",
        "min_p": 0.1,
        "stream": True,
        "cache_prompt": True,
    }
    response = await client.post("/v1/chat/completions", json=body)
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == backend.text
    assert backend.requests[0].sampling.min_p == 0.1
