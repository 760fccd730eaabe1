"""Ollama's API as JSON on the wire."""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from serving.config import GatewayConfig, Role
from serving.errors import Reason, ServingError
from serving.gateway.access import OpenAccess
from serving.gateway.http.app import build_http_app
from serving.gateway.http.ollama.answers import AnswerObjects, StreamedLines, said
from serving.gateway.served_model import ServedModel
from serving.gateway.service import CodeService
from tests.gateway.scripted_backend import ScriptedBackend, served_model

BOS, PREFIX, MIDDLE, SUFFIX = 2, 67, 68, 69
QUESTION = [{"role": "user", "content": "Hi"}]


def lines(response: httpx.Response) -> list[Any]:
    """The objects of a stream."""
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def client_of(*models: ServedModel) -> httpx.AsyncClient:
    service = CodeService(models, GatewayConfig(), access=OpenAccess())
    app = build_http_app(lambda: service, GatewayConfig())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://gateway")


async def test_a_generation_is_one_object_if_no_stream_is_wanted(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    asked = {"model": "default", "prompt": "a = ", "suffix": "\n", "stream": False, "options": {"num_predict": 9}}
    body = (await client.post("/api/generate", json=asked)).json()
    assert datetime.fromisoformat(body.pop("created_at")).utcoffset() is not None
    durations = {name: body.pop(name) for name in list(body) if name.endswith("_duration")}
    assert durations.keys() == {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
    assert durations["total_duration"] >= durations["prompt_eval_duration"] + durations["eval_duration"] - 1 > 0
    assert body == {
        "model": "default",
        "response": "return 1\n",
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": len(backend.requests[0].prompt_ids),
        "eval_count": 4,
    }


async def test_a_generation_streams_unless_told_otherwise(client: httpx.AsyncClient) -> None:
    *pieces, last = lines(await client.post("/api/generate", json={"model": "default", "prompt": "x"}))
    assert "".join(piece["response"] for piece in pieces) == "return 1\n"
    assert {piece["done"] for piece in pieces} == {False}
    assert (last["response"], last["done"], last["done_reason"], last["eval_count"]) == ("", True, "stop", 4)


async def test_a_suffix_asks_to_fill_in(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for prefix in ("a = ", ""):
        await client.post("/api/generate", json={"model": "default", "prompt": prefix, "suffix": "\n"})
        encode = backend.tokenizer.encode
        assert backend.requests[-1].prompt_ids == (BOS, PREFIX, *encode(prefix), SUFFIX, *encode("\n"), MIDDLE)


async def test_a_suffix_for_a_model_that_only_chats_is_refused_in_ollamas_words(backend: ScriptedBackend) -> None:
    async with client_of(served_model(backend, "chatty", Role.CHAT)) as client:
        response = await client.post("/api/generate", json={"model": "chatty", "prompt": "a", "suffix": "b"})
    assert response.status_code == 400
    assert '"chatty" does not support insert' in response.json()["error"]


@pytest.mark.parametrize("roles", [(Role.FIM,), (Role.FIM, Role.CHAT)])
async def test_a_model_that_fills_in_continues_a_prompt_without_suffix_as_it_is(
    backend: ScriptedBackend, roles: tuple[Role, ...]
) -> None:
    async with client_of(served_model(backend, "coder", *roles)) as client:
        await client.post("/api/generate", json={"model": "coder", "prompt": "<|fim_prefix|>a"})
    assert backend.requests[0].prompt_ids == (BOS, PREFIX, *backend.tokenizer.encode("a"))


async def test_a_raw_prompt_is_continued_as_it_is_by_any_model(backend: ScriptedBackend) -> None:
    async with client_of(served_model(backend, "chatty", Role.CHAT)) as client:
        await client.post("/api/generate", json={"model": "chatty", "prompt": "Why", "raw": True})
    assert backend.requests[0].prompt_ids == (BOS, *backend.tokenizer.encode("Why"))


async def test_a_prompt_is_a_question_to_a_model_that_only_chats(backend: ScriptedBackend) -> None:
    async with client_of(served_model(backend, "chatty", Role.CHAT)) as client:
        await client.post("/api/generate", json={"model": "chatty", "prompt": "Why?"})
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == "user\nWhy?\nmodel\n"


async def test_a_system_text_makes_a_question_of_a_prompt(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    await client.post("/api/generate", json={"model": "default", "prompt": "Why?", "system": "Be brief."})
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == "user\nBe brief.\n\nWhy?\nmodel\n"


async def test_a_system_text_for_a_model_that_does_not_chat_is_refused(backend: ScriptedBackend) -> None:
    async with client_of(served_model(backend, "coder", Role.FIM)) as client:
        response = await client.post("/api/generate", json={"model": "coder", "prompt": "a", "system": "Be brief."})
    assert response.status_code == 400
    assert response.json()["error"].startswith("system ")


async def test_a_chat_is_answered_whole_and_in_lines(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    asked = {"model": "default", "messages": QUESTION}
    whole = (await client.post("/api/chat", json={**asked, "stream": False})).json()
    assert whole["message"] == {"role": "assistant", "content": "return 1\n"}
    assert (whole["done"], whole["done_reason"], whole["eval_count"]) == (True, "stop", 4)
    *pieces, last = lines(await client.post("/api/chat", json=asked))
    assert "".join(piece["message"]["content"] for piece in pieces) == "return 1\n"
    assert (last["message"]["content"], last["done"]) == ("", True)
    assert backend.tokenizer.decode(backend.requests[0].prompt_ids) == "user\nHi\nmodel\n"


async def test_a_history_may_have_calls_of_tools(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    history = [
        {"role": "system", "content": "S"},
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {"role": "tool", "content": "42", "tool_name": "f"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    await client.post("/api/chat", json={"model": "default", "messages": history, "tools": tools, "stream": False})
    text = backend.tokenizer.decode(backend.requests[0].prompt_ids)
    assert text == "user\nS\n\nHi\nmodel\nf({})\nuser\n42\nmodel\n"


@pytest.mark.parametrize(("path", "key"), [("generate", "response"), ("chat", "message")])
async def test_a_request_without_prompt_loads_the_model(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str, key: str
) -> None:
    response = await client.post(f"/api/{path}", json={"model": "default", "keep_alive": "5m"})
    assert (response.status_code, response.json()["done"], response.json()["done_reason"]) == (200, True, "load")
    assert key in response.json()
    assert not backend.requests
    assert (await client.post(f"/api/{path}", json={"model": "llama"})).status_code == 404


async def test_options_reach_the_backend(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    options = {"temperature": 1, "top_p": 0.5, "top_k": 3, "seed": 7, "num_predict": 5.0, "num_ctx": 4096}
    await client.post("/api/generate", json={"model": "default", "prompt": "x", "options": options})
    found = backend.requests[0].sampling
    assert (found.temperature, found.top_p, found.top_k, found.seed) == (1.0, 0.5, 3, 7)
    assert backend.requests[0].max_tokens == 5


async def test_without_options_code_is_greedy_and_a_chat_has_ollamas_own(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    await client.post("/api/generate", json={"model": "default", "prompt": "a", "suffix": "b", "options": None})
    await client.post("/api/chat", json={"model": "default", "messages": QUESTION, "options": {"temperature": None}})
    fim, chat = (request.sampling for request in backend.requests)
    assert (fim.temperature, fim.top_k, fim.top_p) == (0.0, 0, 1.0)
    assert (chat.temperature, chat.top_k, chat.top_p) == (0.8, 40, 0.9)


@pytest.mark.parametrize(
    "options",
    [
        {"num_predict": -1},
        {"num_predict": -2},
        {"seed": 2**40},
        {"seed": -1},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"stop": ""},
        {"stop": ["", "\n\n"]},
        {"repeat_penalty": 1.0, "min_p": 0, "num_gpu": 99},
    ],
)
async def test_values_with_a_plain_meaning_are_taken(client: httpx.AsyncClient, options: dict[str, object]) -> None:
    response = await client.post("/api/generate", json={"model": "default", "prompt": "x", "options": options})
    assert lines(response)[-1]["done_reason"] == "stop"


@pytest.mark.parametrize("stop", ["1", ["1"]])
async def test_a_stop_text_ends_a_generation(client: httpx.AsyncClient, stop: object) -> None:
    asked = {"model": "default", "prompt": "x", "stream": False, "options": {"stop": stop}}
    body = (await client.post("/api/generate", json=asked)).json()
    assert (body["response"], body["done_reason"]) == ("return ", "stop")


async def test_a_generation_that_is_cut_says_so(client: httpx.AsyncClient) -> None:
    asked = {"model": "default", "prompt": "x", "options": {"num_predict": 2}}
    assert lines(await client.post("/api/generate", json=asked))[-1]["done_reason"] == "length"


async def test_log_probabilities_come_with_the_pieces_and_with_the_whole(client: httpx.AsyncClient) -> None:
    asked = {"model": "default", "prompt": "x", "logprobs": True, "top_logprobs": 2}
    *pieces, _ = lines(await client.post("/api/generate", json=asked))
    whole = (await client.post("/api/generate", json={**asked, "stream": False})).json()
    assert [each for piece in pieces for each in piece["logprobs"]] == whole["logprobs"]
    assert "".join(each["token"] for each in whole["logprobs"]) == "return 1\n"
    assert [each["logprob"] for each in whole["logprobs"][0]["top_logprobs"]] == [-0.25, -1.5]


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        ("generate", {"context": [1, 2]}, "context"),
        ("generate", {"template": "{{ .Prompt }}"}, "template"),
        ("generate", {"images": ["aGk="]}, "images"),
        ("generate", {"format": "json"}, "format"),
        ("generate", {"think": True}, "think"),
        ("generate", {"suffix": "b", "raw": True}, "suffix"),
        ("generate", {"suffix": "b", "system": "S"}, "system"),
        ("generate", {"raw": True, "system": "S"}, "system"),
        ("generate", {"options": {"typical_p": 0.9}}, "options.typical_p"),
        ("chat", {"format": {"type": "object"}}, "format"),
        ("chat", {"messages": [{"role": "user", "content": "a", "images": ["aGk="]}]}, "images"),
    ],
)
async def test_what_would_change_the_answer_and_is_not_supported_is_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend, path: str, fields: dict[str, object], named: str
) -> None:
    asked = {"model": "default", "prompt": "a", "messages": QUESTION, **fields}
    response = await client.post(f"/api/{path}", json=asked)
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{named} ")
    assert not backend.requests


@pytest.mark.parametrize("path", ["generate", "chat", "show"])
async def test_a_model_has_to_be_named_and_known(client: httpx.AsyncClient, path: str) -> None:
    asked = {"prompt": "a", "messages": QUESTION}
    for nobody in ({}, {"model": ""}, {"model": None, "name": ""}):
        response = await client.post(f"/api/{path}", json={**asked, **nobody})
        assert (response.status_code, response.json()) == (400, {"error": "model is required."})
    response = await client.post(f"/api/{path}", json={**asked, "model": "llama3"})
    assert response.status_code == 404
    assert "llama3" in response.json()["error"]


@pytest.mark.parametrize(
    "named", [{"model": "default"}, {"name": "default"}, {"model": "", "name": "default"}, {"model": "default:latest"}]
)
@pytest.mark.parametrize("path", ["generate", "chat", "show"])
async def test_a_model_has_either_name_and_perhaps_a_tag(
    client: httpx.AsyncClient, path: str, named: dict[str, str]
) -> None:
    response = await client.post(f"/api/{path}", json={"prompt": "a", "messages": QUESTION, **named})
    assert response.status_code == 200


async def test_errors_of_fields_have_ollamas_names_for_them(client: httpx.AsyncClient) -> None:
    asked = {"model": "default", "prompt": "a", "options": {"temperature": -1}}
    response = await client.post("/api/generate", json=asked)
    assert response.json() == {"error": "options.temperature is -1.0; allowed is 0 to 2."}
    response = await client.post("/api/generate", json={**asked, "options": {"num_predict": "many"}})
    assert response.json()["error"].startswith('options.num_predict is "many"')


async def test_an_error_in_a_stream_is_its_last_line(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.error = ServingError(Reason.UNAVAILABLE, "Gone.")
    *pieces, last = lines(await client.post("/api/generate", json={"model": "default", "prompt": "x"}))
    assert pieces
    assert last == {"error": "Gone."}


def test_the_sign_of_life_of_a_stream_is_a_piece_without_text() -> None:
    sign = StreamedLines(AnswerObjects("default", said)).framing.sign_of_life
    assert sign.endswith(b"\n")
    piece = json.loads(sign)
    assert (piece["model"], piece["message"]["content"], piece["done"]) == ("default", "", False)


async def test_models_are_listed_shown_and_running(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    [listed] = (await client.get("/api/tags")).json()["models"]
    assert (listed["name"], listed["model"], len(listed["digest"])) == ("codegemma-test", "codegemma-test", 64)
    assert datetime.fromisoformat(listed["modified_at"]).utcoffset() is not None
    [running] = (await client.get("/api/ps")).json()["models"]
    assert (running["name"], running["context_length"]) == ("codegemma-test", 512)
    shown = (await client.post("/api/show", json={"model": "codegemma-test"})).json()
    assert shown["parameters"] == "num_ctx 512"
    assert shown["model_info"]["gemma.context_length"] == 512
    backend.answers = False
    assert (await client.get("/api/ps")).json() == {"models": []}


@pytest.mark.parametrize(
    ("roles", "chat_format", "capabilities", "parts"),
    [
        ((Role.FIM,), "turns", ["completion", "insert"], ("<|fim_prefix|>", ".Suffix", "{{ .Prompt }}")),
        ((Role.CHAT,), "turns", ["completion"], ("<start_of_turn>",)),
        ((Role.CHAT,), "transcript", ["completion"], ("Question", "Answer:\n")),
        (
            (Role.FIM, Role.CHAT),
            "turns",
            ["completion", "insert"],
            ("<|fim_prefix|>", "<start_of_turn>", "{{ .Prompt }}"),
        ),
    ],
)
async def test_a_template_tells_editors_whether_a_model_fills_in(
    backend: ScriptedBackend,
    roles: tuple[Role, ...],
    chat_format: str,
    capabilities: list[str],
    parts: tuple[str, ...],
) -> None:
    async with client_of(served_model(backend, "some", *roles, chat_format=chat_format)) as client:
        shown = (await client.post("/api/show", json={"name": "some"})).json()
    assert shown["capabilities"] == capabilities
    assert all(part in shown["template"] for part in parts)
    assert (".Suffix" in shown["template"]) == ("insert" in capabilities)


async def test_the_server_is_there_and_has_a_version(client: httpx.AsyncClient) -> None:
    response = await client.head("/")
    assert (response.status_code, response.content) == (200, b"")
    major, minor, _ = (await client.get("/api/version")).json()["version"].split(".")
    assert int(major) > 0 or int(minor) >= 6


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", each) for each in ("pull", "push", "create", "copy", "embed", "embeddings", "blobs/sha256:00")),
        ("DELETE", "delete"),
    ],
)
async def test_other_verbs_are_not_implemented(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, f"/api/{path}", json={"model": "default", "input": "x"})
    assert response.status_code == 501
    assert isinstance(response.json()["error"], str)


async def test_what_fails_below_its_paths_is_in_ollamas_form_and_nowhere_else(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/generate", content=b"{")).json()["error"].startswith("The body is not JSON")
    assert isinstance((await client.get("/api/nothing")).json()["error"], str)
    assert isinstance((await client.get("/api/generate")).json()["error"], str)
    assert isinstance((await client.get("/nothing")).json()["error"], dict)
