"""Whatever a body says, it is understood or refused, in every API and in words of JSON."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ServingError
from serving.gateway.http.anthropic.schema import Block, ConversationMessage, MessageBody
from serving.gateway.http.json_body import WireObject, read_json
from serving.gateway.http.mistral.schema import FimBody
from serving.gateway.http.ollama.schema import ChatBody, ChatMessage, GenerateBody, Options
from tests.gateway.http.test_json_body import PYTHON_WORDS, every_subclass, json_values

HONEST: dict[type[WireObject], dict[str, Any]] = {
    ChatBody: {"model": "m", "messages": [{"role": "user", "content": "a"}]},
    FimBody: {"prompt": "a"},
    GenerateBody: {"model": "m", "prompt": "a"},
    MessageBody: {"max_tokens": 1, "messages": [{"role": "user", "content": "a"}]},
}
INNER: dict[str, type[WireObject]] = {
    "content": Block,
    "messages": ChatMessage,
    "options": Options,
    "system": Block,
}
"""Fields that have objects, and what they are like."""


def objects(kind: type[WireObject]) -> st.SearchStrategy[dict[str, Any]]:
    """Any values in some of the fields of an object."""
    return st.dictionaries(st.sampled_from(list(kind.model_fields)), json_values, max_size=3)


def values(name: str) -> st.SearchStrategy[Any]:
    """A value of a field that may have objects."""
    inner = objects(INNER[name]) | objects(ConversationMessage)
    return inner | st.lists(inner, max_size=2)


@pytest.mark.parametrize("kind", HONEST)
def test_a_body_is_understood_or_refused_in_words_of_json(kind: type[WireObject]) -> None:
    python = [*PYTHON_WORDS, *(each.__name__ for each in every_subclass(WireObject))]
    inner = st.sampled_from(sorted(INNER)).flatmap(lambda name: st.fixed_dictionaries({name: values(name)}))

    @settings(deadline=None, max_examples=200)
    @given(wrong=objects(kind), within=inner)
    def check(wrong: dict[str, Any], within: dict[str, Any]) -> None:
        body = json.dumps({**HONEST[kind], **within, **wrong}).encode()
        try:
            runner.run(read_json(body, kind.model_validate))
        except ServingError as error:
            fault = error.message.rpartition(": ")[2]  # what stands before is the field, and what the client wrote
            assert not [word for word in python if word in f"{error.field} {fault}"]

    with asyncio.Runner() as runner:
        check()


@pytest.mark.parametrize("kind", HONEST)
def test_null_and_false_stand_for_a_field_that_is_not_there(kind: type[WireObject]) -> None:
    plain = kind.model_validate(HONEST[kind])
    absent = {name for name in kind.model_fields if name not in HONEST[kind]}
    assert kind.model_validate(HONEST[kind] | dict.fromkeys(absent)) == plain
    no_flags = {name for name in absent if kind.model_fields[name].annotation is not bool}
    assert kind.model_validate(HONEST[kind] | dict.fromkeys(no_flags, False)) == plain
