"""Completions that begin with their prompt, and with `logprobs` the log probabilities of its tokens."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.request import Priority
from serving.errors import FieldError
from serving.gateway.request import CodeRequest, TokenLogprob, TokenPrompt
from serving.gateway.text.shown_prompt import ScoredPrompt
from serving.gateway.text.tokenizer import Tokenizer
from serving.gateway.validation import max_tokens
from sharding.step import SamplingParams, Token
from tests.gateway.scripted_backend import ScriptedBackend

FIM_TEXT = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"


async def completion(client: httpx.AsyncClient, **fields: Any) -> Any:
    response = await client.post("/v1/completions", json={"prompt": "x", "echo": True} | fields)
    assert response.status_code == 200, response.text
    return response.json()


async def streamed(client: httpx.AsyncClient, **fields: Any) -> list[Any]:
    asked = {"prompt": "x", "echo": True, "stream": True} | fields
    response = await client.post("/v1/completions", json=asked)
    return [json.loads(line[6:])["choices"][0] for line in response.text.splitlines() if line.startswith("data: {")]


async def test_for_no_tokens_the_answer_is_the_usage_and_what_is_echoed(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    answer = await completion(client, prompt=["def f", "x"], n=2, max_tokens=0)
    assert [choice["text"] for choice in answer["choices"]] == ["def f", "def f", "x", "x"]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (3 + 2, 0)
    silent = await completion(client, max_tokens=0, echo=False)
    assert silent["choices"][0]["text"] == ""


async def test_an_echo_goes_before_each_choice_once(client: httpx.AsyncClient) -> None:
    asked = {"prompt": ["a", "b"], "n": 2}
    whole = await completion(client, **asked)
    assert [choice["text"] for choice in whole["choices"]] == [f"{prompt}return 1\n" for prompt in "aabb"]
    texts = [""] * 4
    for choice in await streamed(client, **asked):
        texts[choice["index"]] += choice["text"]
    assert texts == [choice["text"] for choice in whole["choices"]]


@pytest.mark.parametrize(
    ("fields", "echoed"),
    [
        ({"prompt": "def f():\n", "suffix": "\nx"}, "def f():\n"),
        ({"prompt": [2, 5, 217 + ord("a")]}, "a"),
        ({"prompt": FIM_TEXT}, FIM_TEXT),
        ({"prompt": "<bos>a\ud800"}, "<bos>a\ufffd"),
    ],
)
async def test_the_echo_of_code_to_fill_in_is_its_prefix_and_that_of_token_ids_their_text(
    client: httpx.AsyncClient, backend: ScriptedBackend, fields: dict[str, Any], echoed: str
) -> None:
    backend.text = "+"
    body = json.dumps({"echo": True, "max_tokens": 1} | fields)
    response = await client.post("/v1/completions", content=body)
    assert response.json()["choices"][0]["text"] == f"{echoed}+"


async def test_the_tokens_of_a_text_have_log_probabilities_but_the_first(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    answer = await completion(client, prompt="a b c", logprobs=1, max_tokens=0)
    (choice,) = answer["choices"]
    logprobs = choice["logprobs"]
    assert (choice["text"], choice["finish_reason"]) == ("a b c", "length")
    assert logprobs["tokens"] == ["a", " b", " c"]
    assert logprobs["token_logprobs"] == [None, -0.25, -0.25]
    assert logprobs["top_logprobs"] == [None, {" b": -0.25}, {" c": -0.25}]
    assert logprobs["text_offset"] == [0, 1, 3]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (4, 0)
    assert backend.requests[0].scores_prompt


async def test_each_token_id_has_a_place_and_so_has_the_token_that_ends_the_answer(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    """As evaluations count on: they leave out the last one, which they take for the one token generated."""
    backend.text = ""
    (choice,) = (await completion(client, prompt=[[2, 5, 6, 5]], logprobs=1, max_tokens=1))["choices"]
    assert choice["logprobs"]["tokens"][0] == "<bos>"
    assert choice["logprobs"]["tokens"][-1] == "<eos>"
    assert choice["logprobs"]["token_logprobs"] == [None, -0.25, -0.25, -0.25, -0.25]
    assert choice["finish_reason"] == "stop"
    backend.text = "a b"
    (choice,) = (await completion(client, prompt=[[2, 5, 6, 5]], logprobs=1, max_tokens=1))["choices"]
    assert (len(choice["logprobs"]["tokens"]), choice["logprobs"]["tokens"][-1]) == (5, "a")


async def test_what_is_generated_follows_in_text_and_offsets(client: httpx.AsyncClient) -> None:
    (choice,) = (await completion(client, prompt="a b", logprobs=0))["choices"]
    assert choice["text"] == "a breturn 1\n"
    tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
    assert tokens == ["a", " b", "return", " ", "1", "\n", "<eos>"]
    assert offsets == [0, 1, 3, 9, 10, 11, 12]
    assert all(choice["text"][start:].startswith(token) for token, start in zip(tokens[:-1], offsets, strict=False))


@pytest.mark.parametrize("together", [1, 3, 100])
async def test_a_stream_says_the_same_as_a_whole_answer(
    client: httpx.AsyncClient, backend: ScriptedBackend, together: int
) -> None:
    backend.together = together
    asked = {"prompt": f"{FIM_TEXT} 😀é", "logprobs": 2, "max_tokens": 3}
    (whole,) = (await completion(client, **asked))["choices"]
    pieces = await streamed(client, **asked)
    assert "".join(piece["text"] for piece in pieces) == whole["text"]
    for name, items in whole["logprobs"].items():
        assert [item for piece in pieces if piece["logprobs"] for item in piece["logprobs"][name]] == items


async def test_several_choices_of_several_prompts_are_each_scored(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    answer = await completion(client, prompt=["a b", "c"], n=2, logprobs=0, max_tokens=1)
    assert [choice["logprobs"]["tokens"] for choice in answer["choices"]] == [["a", " b", "return"]] * 2 + [
        ["c", "return"]
    ] * 2
    assert {request.priority for request in backend.requests} == {Priority.NORMAL}


async def test_nobody_waits_for_a_scored_prompt_even_if_code_is_filled_in(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    await completion(client, prompt=FIM_TEXT, logprobs=0)
    await completion(client, prompt=FIM_TEXT)
    assert [request.priority for request in backend.requests] == [Priority.NORMAL, Priority.URGENT]


async def test_log_probabilities_of_code_to_fill_in_are_refused_by_name(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    asked = {"prompt": "x", "suffix": "y", "echo": True, "logprobs": 0}
    response = await client.post("/v1/completions", json=asked)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", "echo")
    assert not backend.requests


def test_as_many_tokens_may_be_scored_and_generated_as_an_answer_may_have_log_probabilities() -> None:
    request = CodeRequest(
        prompt=TokenPrompt([5]), sampling=SamplingParams(logprobs=19), prompt_logprobs=True, max_tokens=50
    )
    assert max_tokens(request, 10, prompt_tokens=9950, room=100) == 50
    for more in (replace(request, max_tokens=51), replace(request, choices=2)):
        with pytest.raises(FieldError, match="more than 200000 log probabilities") as raised:
            max_tokens(more, 10, prompt_tokens=9950, room=100)
        assert raised.value.name == "logprobs"
    assert max_tokens(replace(request, max_tokens=None), 100, prompt_tokens=9950, room=100) == 50


async def test_a_chat_has_no_echo(client: httpx.AsyncClient) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    response = await client.post("/v1/chat/completions", json={"messages": messages, "echo": True})
    assert response.json()["error"]["param"] == "echo"


TEXTS = st.lists(st.sampled_from(["a", " b", "\n", "😀", "▁", "<bos>", "<|fim_middle|>", "é", "\u2028"]), max_size=8)


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, cuts=st.lists(st.integers(1, 5), max_size=40))
def test_the_tokens_of_a_text_stand_at_their_offsets_however_they_come(
    codegemma: Tokenizer, texts: list[str], cuts: list[int]
) -> None:
    text = "".join(texts)
    ids = [codegemma.bos_id, *(token_id for part in codegemma.encode_with_sentinels(text) for token_id in part)]
    prompt = ScoredPrompt(codegemma, ids, text, shows_bos=False, shows_controls=True)
    left = [Token(token_id, -1.0) for token_id in ids[1:]]
    shown = ""
    tokens: list[TokenLogprob] = []
    for cut in [*cuts, len(ids)]:
        new_text, new_tokens, others = prompt.feed(left[:cut])
        del left[:cut]
        shown += new_text
        tokens += new_tokens
        assert not others
    assert shown == text
    assert [token.logprob for token in tokens] == [None, *[-1.0] * (len(ids) - 2)][: len(ids) - 1]
    for token in tokens:
        if "\ufffd" not in token.token:
            assert text.startswith(token.token, token.offset)
