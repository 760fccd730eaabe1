"""Whatever a body says, it is answered or refused, and the server has not failed."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

numbers = (
    st.integers(-3, 9)
    | st.sampled_from([2**31, 2**32, 2**63, 10**30, -(2**63), 0.5, 4.0, 1e300, -0.0])
    | st.booleans()
    | st.none()
)
texts = st.sampled_from(["", "x", "\n", "a\r\n", "\ud83d", "<|fim_middle|>", "none", "auto"])
calls = st.fixed_dictionaries({"name": texts, "arguments": texts | st.just({"a": 1})})
parts = st.lists(texts | st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": texts | parts | st.none(),
        "tool_calls": st.lists(st.fixed_dictionaries({"function": calls}), max_size=2) | st.none(),
        "function_call": calls,
    },
)
items = messages | st.fixed_dictionaries(
    {"type": st.sampled_from(["function_call", "function_call_output", "reasoning", "message", "x"])},
    optional={"name": texts, "arguments": texts, "output": texts | parts, "role": st.just("user"), "content": texts},
)
fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": numbers,
        "max_completion_tokens": numbers,
        "max_output_tokens": numbers,
        "temperature": numbers,
        "top_p": numbers,
        "top_k": numbers,
        "seed": numbers,
        "n": st.integers(-1, 3) | numbers,
        "best_of": numbers,
        "logprobs": numbers,
        "top_logprobs": numbers,
        "echo": st.booleans(),
        "stream": st.booleans(),
        "suffix": texts | st.booleans(),
        "stop": texts | st.lists(texts, max_size=3) | st.none() | st.booleans(),
        "stop_token_ids": st.lists(numbers, max_size=3),
        "logit_bias": st.dictionaries(texts, numbers, max_size=2) | numbers,
        "min_p": numbers,
        "tools": st.lists(st.just({}), max_size=1) | st.booleans(),
        "tool_choice": texts | st.just({"type": "auto"}),
        "instructions": texts | st.none(),
    },
)
bodies = {
    "completions": st.fixed_dictionaries(
        {"prompt": texts | st.lists(texts, max_size=2) | st.lists(numbers, max_size=2)}
    ),
    "chat/completions": st.fixed_dictionaries({"messages": st.lists(messages, max_size=3)}),
    "responses": st.fixed_dictionaries({"input": texts | st.lists(items, max_size=3)}),
}


@pytest.mark.parametrize("path", bodies)
def test_any_body_is_answered_or_refused(http_app: Starlette, path: str) -> None:
    answered = 0

    @settings(deadline=None, max_examples=300)
    @given(body=bodies[path], more=fields)
    def check(body: dict[str, Any], more: dict[str, Any]) -> None:
        nonlocal answered
        response = runner.run(post(body | more))
        answered += response.status_code == 200
        assert response.status_code in (200, 400), response.text
        assert "internal" not in response.text

    async def post(body: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(http_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post(f"/v1/{path}", content=json.dumps(body))

    with asyncio.Runner() as runner:
        check()
    assert answered
