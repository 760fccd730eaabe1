"""Log probabilities of a prompt by gRPC, through the published client."""

from collections.abc import AsyncIterator

import pytest
from codegemma.client import AsyncClient, ChatMessage, FimInput, GenerationConfig, InvalidArgumentError, TokenIds
from codegemma.v1.generation_pb2 import TokenLogprob

from serving.gateway.text.tokenizer import Tokenizer
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service

SCORED = GenerationConfig(max_tokens=1, logprobs=1, prompt_logprobs=True)


@pytest.fixture
async def client(backend: ScriptedBackend) -> AsyncIterator[AsyncClient]:
    async with grpc_server(one_model_service(backend)) as target, AsyncClient(target) as client:
        yield client


def names(tokens: object) -> list[str]:
    assert isinstance(tokens, list)
    return [token.token for token in tokens]


async def test_every_token_of_a_place_in_a_file_is_scored_control_tokens_too(client: AsyncClient) -> None:
    place = FimInput(prefix="a", suffix="b")
    answer = await client.complete(place, generation_config=SCORED)
    (choice,) = answer.choices
    scored = list(choice.prompt_logprobs)
    assert names(scored) == ["<bos>", "<|fim_prefix|>", "a", "<|fim_suffix|>", "b", "<|fim_middle|>"]
    assert [token.HasField("logprob") for token in scored] == [False] + [True] * 5
    assert [len(token.top) for token in scored] == [0] + [1] * 5
    assert (choice.text, names(list(choice.logprobs))) == ("return", ["return"])
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 1)


async def test_a_conversation_and_token_ids_are_scored(client: AsyncClient, codegemma: Tokenizer) -> None:
    said = await client.chat([ChatMessage(role=ChatMessage.ROLE_USER, text="a")], generation_config=SCORED)
    scored = names(list(said.choices[0].prompt_logprobs))
    assert "".join(scored) == "<bos><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n"
    answer = await client.complete(TokenIds(ids=codegemma.encode("a b")), generation_config=SCORED)
    assert names(list(answer.choices[0].prompt_logprobs)) == ["a", " b"]


async def test_a_stream_begins_with_the_prompt(client: AsyncClient, backend: ScriptedBackend) -> None:
    backend.text = ""
    scored: list[TokenLogprob] = []
    after: list[TokenLogprob] = []
    async for part in client.stream_complete("a b c", generation_config=SCORED):
        assert not (after and part.choice.prompt_logprobs)
        scored += part.choice.prompt_logprobs
        after += part.choice.logprobs
        assert part.choice.text == ""
    assert names(scored) == ["<bos>", "a", " b", " c"]
    assert names(after) == ["<eos>"]


async def test_a_prompt_is_scored_with_log_probabilities_only(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgumentError, match="prompt_logprobs is true, and logprobs is not set") as raised:
        await client.complete("a", generation_config=GenerationConfig(prompt_logprobs=True))
    assert raised.value.field == "generation_config.prompt_logprobs"
