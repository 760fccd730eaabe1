"""No text in a structured field of any API can become a control token."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config import Role
from serving.gateway.http.anthropic.requests import message_request
from serving.gateway.http.anthropic.schema import MessageBody
from serving.gateway.http.mistral.requests import fim_request
from serving.gateway.http.mistral.schema import FimBody
from serving.gateway.http.ollama.requests import chat_request, generate_request
from serving.gateway.http.ollama.schema import ChatBody, GenerateBody
from serving.gateway.request import CodeRequest
from serving.gateway.service import ModelInfo
from serving.gateway.text.prompts import PromptRenderer
from serving.gateway.text.tokenizer import SENTINELS, Tokenizer

LIMIT = 8192
MODEL = ModelInfo(
    id="some",
    aliases=(),
    roles=(Role.FIM, Role.CHAT),
    fim="native",
    chat="turns",
    context_length=LIMIT,
    version="a checkpoint",
)
texts = st.lists(st.one_of(st.sampled_from(SENTINELS), st.text(max_size=8)), max_size=6).map("".join)


def _anthropic(text: str) -> CodeRequest:
    blocks = [
        {"type": "text", "text": f"a{text}"},
        {"type": "tool_result", "tool_use_id": text, "content": text},
        {"type": "tool_use", "id": text, "name": text, "input": {text: text}},
    ]
    messages = [{"role": "user", "content": blocks}]
    return message_request(MessageBody.model_validate({"messages": messages, "system": text, "max_tokens": 1}))


def _mistral(text: str) -> CodeRequest:
    return fim_request(FimBody.model_validate({"prompt": text, "suffix": text}))


def _ollama_chat(text: str) -> CodeRequest:
    messages = [
        {"role": "system", "content": text},
        {"role": "user", "content": f"a{text}"},
        {"role": "assistant", "tool_calls": [{"function": {"name": text, "arguments": {text: text}}}]},
        {"role": "tool", "content": f"a{text}", "tool_name": text},
    ]
    return chat_request(ChatBody.model_validate({"model": "some", "messages": messages}))


def _ollama_insert(text: str) -> CodeRequest:
    body = GenerateBody.model_validate({"model": "some", "prompt": text, "suffix": f"a{text}"})
    return generate_request(body, MODEL)


def _ollama_question(text: str) -> CodeRequest:
    body = GenerateBody.model_validate({"model": "some", "prompt": f"a{text}", "system": f"a{text}"})
    return generate_request(body, MODEL)


@pytest.mark.parametrize("request_of", [_anthropic, _mistral, _ollama_chat, _ollama_insert, _ollama_question])
@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_structured_text_adds_no_control_token(
    codegemma: Tokenizer, request_of: Callable[[str], CodeRequest], text: str
) -> None:
    control_ids = {codegemma.control_id(sentinel) for sentinel in SENTINELS}
    renderer = PromptRenderer(codegemma, "psm")

    def controls(of: str) -> list[int]:
        return [each for each in renderer.render(request_of(of).prompt, LIMIT) if each in control_ids]

    assert controls(text) == controls("harmless")
