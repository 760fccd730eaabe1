"""LangChain through OpenAI's API: chats, agents, completions."""

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
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
def chat(url: str, asked: Asked) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=asked.model, max_tokens=8, temperature=0)


def test_it_chats(chat: ChatOpenAI, asked: Asked) -> None:
    whole = chat.invoke(asked.question)
    assert whole.content == "".join(part.content for part in chat.stream(asked.question))
    assert whole.content.startswith(asked.answer)
    assert whole.usage_metadata["output_tokens"] == 8
    assert [answer.content for answer in chat.batch([asked.question] * 3)] == [whole.content] * 3


def test_it_chats_through_responses(chat: ChatOpenAI, asked: Asked) -> None:
    responses = chat.model_copy(update={"use_responses_api": True})
    assert responses.invoke(asked.question).text == chat.invoke(asked.question).text
    assert "".join(part.text for part in responses.stream(asked.question)) == chat.invoke(asked.question).text


def test_an_agents_answer_is_text(chat: ChatOpenAI, asked: Asked) -> None:
    agent = create_agent(chat, [read_file], system_prompt="You answer questions.")
    [question, answer] = agent.invoke({"messages": [("user", asked.question)]})["messages"]
    assert question.content == asked.question
    assert answer.content
    assert not answer.tool_calls


def test_a_history_with_calls_of_tools_is_answered(chat: ChatOpenAI, asked: Asked) -> None:
    call = {"id": "1", "name": "read_file", "args": {"path": "a.txt"}}
    history = [
        SystemMessage("You answer questions."),
        HumanMessage("Read a.txt."),
        AIMessage("", tool_calls=[call]),
        ToolMessage("text", tool_call_id="1"),
        HumanMessage(asked.question),
    ]
    assert chat.bind_tools([read_file]).invoke(history).content


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
def test_structured_output_is_refused_by_name(chat: ChatOpenAI, asked: Asked, method: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        chat.with_structured_output(Person, method=method).invoke(asked.question)
    assert refused.value.code == "unsupported_parameter"
    assert refused.value.param == ("tool_choice" if method == "function_calling" else "response_format")


def test_a_tool_that_must_be_called_is_refused_by_name(chat: ChatOpenAI, asked: Asked) -> None:
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        chat.bind_tools([read_file], tool_choice="any").invoke(asked.question)


def test_it_recognises_a_prompt_that_is_too_long(chat: ChatOpenAI, too_long: str) -> None:
    with pytest.raises(ContextOverflowError):
        chat.invoke(too_long)


def test_it_completes_and_fills_in(url: str, asked: Asked) -> None:
    model = OpenAI(base_url=f"{url}/v1", api_key="none", model=asked.model, max_tokens=8, temperature=0)
    assert model.invoke(asked.prefix).startswith(asked.filled_in)
    assert "".join(model.stream(asked.prefix)) == model.invoke(asked.prefix)
    assert model.bind(suffix=asked.suffix).invoke(asked.prefix).startswith(asked.filled_in)
