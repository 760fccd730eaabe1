"""llama.cpp's API as JSON on the wire, beyond what editors send."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.request import FinishReason, GenerationChunk
from serving.errors import Reason, ServingError
from serving.gateway.http.llamacpp.requests import infill_request
from serving.gateway.http.llamacpp.response_fields import selected
from serving.gateway.http.llamacpp.schema import InfillBody
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import SENTINELS, Tokenizer
from tests.gateway.scripted_backend import MAX_CONTEXT, ScriptedBackend

FIM = (67, 69, 68, 70)
"""Ids of prefix, suffix, middle and file separator."""
injections = st.lists(st.one_of(st.sampled_from(SENTINELS), st.text(max_size=6)), max_size=5).map("".join)


def events(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    *records, end = response.text.split("\n\n")
    assert end == ""
    return [json.loads(record.removeprefix("data: ")) for record in records]


async def error(client: httpx.AsyncClient, path: str, body: object) -> tuple[int, str, str]:
    """Status, type and message of a refused request."""
    response = await client.post(path, json=body)
    content = response.json()["error"]
    assert set(content) == {"code", "message", "type"}
    assert content["code"] == response.status_code
    return response.status_code, content["type"], content["message"]


async def test_a_stream_is_pieces_of_text_and_then_the_timings(client: httpx.AsyncClient) -> None:
    *pieces, last = events(await client.post("/completion", json={"prompt": "def f", "stream": True}))
    assert "".join(piece["content"] for piece in pieces) == "return 1\n"
    assert {piece["stop"] for piece in pieces} == {False}
    assert (last["content"], last["stop"], last["timings"]["predicted_n"]) == ("", True, 4)


async def test_a_stream_of_several_completions_ends_each(client: httpx.AsyncClient) -> None:
    body = {"prompt": "def f", "stream": True, "n_cmpl": 2, "response_fields": ["index", "stop"]}
    written = events(await client.post("/completion", json=body))
    for index in (0, 1):
        assert "".join(event.get("content", "") for event in written if event["index"] == index) == "return 1\n"
    assert written[-2:] == [{"index": 0, "stop": True}, {"index": 1, "stop": True}]


async def test_a_streamed_warm_up_is_its_end_alone(client: httpx.AsyncClient) -> None:
    [last] = events(await client.post("/infill", json={"input_prefix": "a", "n_predict": 0, "stream": True}))
    assert (last["content"], last["stop"], last["tokens_predicted"]) == ("", True, 0)


async def test_a_failure_in_a_stream_is_its_last_event(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    backend.error = ServingError(Reason.UNAVAILABLE, "Gone.")
    *_, last = events(await client.post("/completion", json={"prompt": "x", "stream": True}))
    assert last == {"error": {"code": 503, "message": "Gone.", "type": "unavailable_error"}}


async def test_a_cut_is_said(client: httpx.AsyncClient) -> None:
    cut = (await client.post("/completion", json={"prompt": "x", "n_predict": 2})).json()
    assert (cut["stop_type"], cut["stopping_word"], cut["tokens_predicted"]) == ("limit", "", 2)


async def test_the_stop_text_that_ended_an_answer_is_said(client: httpx.AsyncClient) -> None:
    ended = (await client.post("/completion", json={"prompt": "x", "stop": ["none", "1"]})).json()
    assert (ended["stop_type"], ended["stopping_word"]) == ("word", "1")
    whole = (await client.post("/completion", json={"prompt": "x"})).json()
    assert (whole["stop_type"], whole["stopping_word"]) == ("eos", "")


async def test_a_raw_prompt_is_text_with_sentinels_or_ids(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    for prompt in ("<|fim_prefix|>a", [67, 5]):
        assert (await client.post("/completion", json={"prompt": prompt})).status_code == 200
    assert [request.prompt_ids[1] for request in backend.requests] == [67, 5]


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": -1},
        {"seed": 2**40},
        {"seed": None, "stop": None, "temperature": None},
        {"top_p": 0},
        {"top_p": 2},
        {"top_k": -1},
        {"temperature": -1},
        {"n_predict": -1},
        {"n_predict": -2},
        {"n_predict": 8.0, "top_k": 40.0},
        {"n_predict": 100_000, "top_k": 1_000_000},
        {"n_indent": -1},
        {"t_max_predict_ms": -1},
        {"stop": ["", "x"]},
        {"model": ""},
        {"min_p": 0.0, "repeat_penalty": 1.0, "mirostat": 0, "grammar": "", "typical_p": 1.0, "logit_bias": []},
        {"id_slot": -1, "samplers": "edkypmxt", "cache_prompt": False, "lora": [], "unknown": {"a": 1}},
    ],
)
async def test_values_whose_meaning_is_plain_are_taken(client: httpx.AsyncClient, fields: dict[str, object]) -> None:
    for path in ("/infill", "/completion"):
        response = await client.post(path, json={"prompt": "x", **fields})
        assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("path", "body", "type_", "field"),
    [
        ("/infill", {}, "invalid_request_error", "input_prefix"),
        ("/infill", {"input_prefix": 5}, "invalid_request_error", "input_prefix"),
        ("/infill", {"prompt": "x", "n_cmpl": 9}, "invalid_request_error", "n_cmpl"),
        ("/infill", {"prompt": "x", "input_extra": [{"text": 1}]}, "invalid_request_error", "input_extra[0].text"),
        ("/infill", {"prompt": "x", "input_extra": [{"text": ""}] * 1025}, "invalid_request_error", "input_extra"),
        ("/infill", {"prompt": "x", "response_fields": ["a"] * 257}, "invalid_request_error", "response_fields"),
        ("/infill", {"prompt": "x", "grammar": "root ::= x"}, "not_supported_error", "grammar"),
        ("/completion", {"prompt": "x", "typical_p": 0.9}, "not_supported_error", "typical_p"),
        ("/completion", {}, "invalid_request_error", "prompt"),
        ("/completion", {"prompt": ["a", "b"]}, "invalid_request_error", "prompt"),
        ("/completion", {"prompt": "x", "n_predict": "9"}, "invalid_request_error", "n_predict"),
        ("/tokenize", {"content": "a b c " * 400}, "exceed_context_size_error", "content"),
        ("/tokenize", {"content": "a" * 60_000}, "exceed_context_size_error", "content"),
        ("/tokenize", {"prompt": "a b c " * 400}, "exceed_context_size_error", "prompt"),
        ("/tokenize", {}, "invalid_request_error", "content"),
        ("/tokenize", {"prompt": 3}, "invalid_request_error", "prompt"),
        ("/tokenize", {"content": "a", "prompt": 3}, "invalid_request_error", "prompt"),
        ("/tokenize", {"content": "a", "prompt": "b"}, "invalid_request_error", "prompt"),
        ("/detokenize", {"tokens": [2, 256_000]}, "invalid_request_error", "tokens[1]"),
        ("/detokenize", {"tokens": [-1]}, "invalid_request_error", "tokens[0]"),
    ],
)
async def test_a_field_that_cannot_be_is_refused_by_its_name(
    client: httpx.AsyncClient, path: str, body: dict[str, object], type_: str, field: str
) -> None:
    status, error_type, message = await error(client, path, body)
    assert (status, error_type) == (400, type_)
    assert message.startswith(f"{field} ")


async def test_other_failures_are_in_llama_cpps_form(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    assert await error(client, "/infill", {"prompt": "x", "model": "gpt"}) == (
        404,
        "not_found_error",
        'model is "gpt", which is not served here. Ask one of: codegemma-test.',
    )
    assert (await client.get("/infill")).json()["error"]["code"] == 405
    backend.error = ServingError(Reason.OVERLOADED, "Too many.")
    assert await error(client, "/infill", {"prompt": "x", "n_predict": 0}) == (429, "unavailable_error", "Too many.")
    backend.error = ServingError(Reason.DEADLINE_EXCEEDED, "Late.")
    assert (await error(client, "/infill", {"prompt": "x"}))[:2] == (504, "server_error")


async def test_text_becomes_ids_and_ids_text(client: httpx.AsyncClient, codegemma: Tokenizer) -> None:
    async def tokens(**body: object) -> Any:
        return (await client.post("/tokenize", json=body)).json()["tokens"]

    ids = codegemma.encode("def f(x): ▁")
    assert await tokens(content="def f(x): ▁") == ids
    assert await tokens(content="def f(x): ▁", add_special=True) == [2, *ids]
    assert await tokens(content="") == []
    assert await tokens(content="<|fim_prefix|>") == [67]
    assert 67 not in await tokens(content="<|fim_prefix|>", parse_special=False)
    pieces = await tokens(content="a𓀀", with_pieces=True)
    assert pieces[0] == {"id": codegemma.encode("a")[0], "piece": "a"}
    assert b"".join(bytes(piece["piece"]) for piece in pieces[1:]).decode() == "𓀀"
    whole = (await client.post("/detokenize", json={"tokens": [2, *ids]})).json()
    assert whole == {"content": "def f(x): ▁", "prompt": "def f(x): ▁"}


async def test_vllms_clients_find_the_tokenizer_too(client: httpx.AsyncClient, codegemma: Tokenizer) -> None:
    async def tokenized(**body: object) -> Any:
        return (await client.post("/tokenize", json=body)).json()

    ids = codegemma.encode("def f(x): ▁")
    assert await tokenized(prompt="def f(x): ▁", add_special_tokens=False, return_token_strs=None) == {
        "tokens": ids,
        "count": len(ids),
        "max_model_len": MAX_CONTEXT,
    }
    assert (await tokenized(prompt="def f(x): ▁"))["tokens"] == [2, *ids]
    info = (await client.get("/tokenizer_info")).json()
    for name, token_id in (("bos_token", 2), ("eos_token", 1)):
        assert (await tokenized(prompt=info[name], add_special_tokens=False))["tokens"] == [token_id]


async def test_a_text_of_a_full_context_is_tokenized(client: httpx.AsyncClient) -> None:
    response = await client.post("/tokenize", json={"content": "\n".join("a" * (MAX_CONTEXT // 2))})
    assert len(response.json()["tokens"]) == MAX_CONTEXT - 1


async def test_a_conversation_becomes_the_raw_prompt_that_a_chat_has(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    prompt = (await client.post("/apply-template", json={"messages": messages})).json()["prompt"]
    assert prompt == "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
    await client.post("/completion", json={"prompt": prompt})
    await client.post("/v1/chat/completions", json={"messages": messages})
    raw, chat = (request.prompt_ids for request in backend.requests)
    assert raw == chat


async def test_what_a_user_writes_as_control_tokens_is_text_in_a_chat_and_read_in_the_raw_prompt_made_of_it(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    """As in llama.cpp: the prompt is one text, in which nothing tells what the server wrote from what the user did."""
    messages = [{"role": "user", "content": "<end_of_turn>"}]
    prompt = (await client.post("/apply-template", json={"messages": messages})).json()["prompt"]
    await client.post("/completion", json={"prompt": prompt})
    await client.post("/v1/chat/completions", json={"messages": messages})
    end = backend.tokenizer.control_id("<end_of_turn>")
    raw, chat = (request.prompt_ids.count(end) for request in backend.requests)
    assert (raw, chat) == (2, 1)


async def test_no_conversation_has_no_prompt(client: httpx.AsyncClient) -> None:
    response = await client.post("/apply-template", json={"messages": []})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert response.json()["error"]["message"].startswith("messages is empty")


@settings(deadline=None, max_examples=200)
@given(
    prefix=injections,
    suffix=injections,
    prompt=injections.filter(bool),
    extra=st.lists(st.tuples(injections, injections), max_size=3),
)
def test_no_text_of_an_infill_becomes_a_control_token(
    codegemma: Tokenizer, prefix: str, suffix: str, prompt: str, extra: list[tuple[str, str]]
) -> None:
    chunks = [{"filename": name, "text": text} for name, text in extra]
    body = InfillBody.model_validate(
        {"input_prefix": prefix, "input_suffix": suffix, "prompt": prompt, "input_extra": chunks}
    )
    ids = PromptRenderer(codegemma, "psm").render(infill_request(body).prompt, 10_000)
    written = [token_id for token_id in ids if token_id in codegemma.control_ids]
    files = {chunk for chunk in extra if chunk[1].strip()}
    assert written[0] == codegemma.bos_id and written[-3:] == list(FIM[:3])
    assert set(written[1:-3]) <= {FIM[3]} and len(written) <= 4 + len(files)


def test_a_field_that_is_not_there_is_left_out() -> None:
    content = {"a": {"b": 1}, "c": 2}
    assert selected(content, ["a/b", "a", "c", "c/d", "x", "", "/"]) == {"a/b": 1, "a": {"b": 1}, "c": 2}
    assert selected(content, []) == content


async def test_the_tokens_of_a_cached_prompt_are_not_counted_as_computed(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.end = GenerationChunk(finish_reason=FinishReason.STOP, cached_tokens=2)
    timings = (await client.post("/completion", json={"prompt": "def f"})).json()["timings"]
    assert (timings["cache_n"], timings["prompt_n"]) == (2, 1)
