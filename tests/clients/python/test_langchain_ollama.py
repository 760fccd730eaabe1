"""LangChain through Ollama's API."""

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaLLM
from ollama import ResponseError
from pydantic import BaseModel

from tests.clients.python.conftest import Asked


class Person(BaseModel):
    """What structured output would be."""

    name: str


@tool
def read_file(path: str) -> str:
    """Reads a file."""
    raise AssertionError("no model here calls a tool")


@pytest.fixture
def chat(url: str, asked: Asked) -> ChatOllama:
    return ChatOllama(base_url=url, model=asked.model, num_predict=8, temperature=0, validate_model_on_init=True)


def test_it_chats(chat: ChatOllama, asked: Asked) -> None:
    whole = chat.invoke(asked.question).content
    assert whole == "".join(part.content for part in chat.stream(asked.question))
    assert whole.startswith(asked.answer)


def test_an_agents_answer_is_text(chat: ChatOllama, asked: Asked) -> None:
    [_, answer] = create_agent(chat, [read_file]).invoke({"messages": [("user", asked.question)]})["messages"]
    assert answer.content
    assert not answer.tool_calls


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_is_refused_by_name(chat: ChatOllama, asked: Asked, method: str) -> None:
    with pytest.raises(ResponseError, match="format is not supported here") as refused:
        chat.with_structured_output(Person, method=method).invoke(asked.question)
    assert refused.value.status_code == 400


def test_it_completes(url: str, asked: Asked) -> None:
    model = OllamaLLM(base_url=url, model=asked.model, num_predict=8, temperature=0)
    assert model.invoke(asked.prefix).startswith(asked.filled_in)
    assert "".join(model.stream(asked.prefix)) == model.invoke(asked.prefix)
