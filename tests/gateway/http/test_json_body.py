"""JSON bodies: what is too much is refused before it becomes objects, and errors speak JSON, whatever a body says."""

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.errors import Reason, ServingError
from serving.gateway.http import json_body, json_bounds
from serving.gateway.http.json_body import WireObject, read_json
from serving.gateway.http.json_bounds import check_bounds
from serving.gateway.http.openai.messages import ChatMessage
from serving.gateway.http.openai.schema import ChatBody, CompletionBody
from serving.gateway.shown import shown

MIB = 2**20
PYTHON_WORDS = ("instance of", "dictionary", "pydantic", "None", "NoneType", "tuple", "<class", "Error")

texts = st.text(st.sampled_from('ab[]{}",:\\ é\n'), max_size=8)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


async def parse_body(kind: type[Any], data: bytes) -> None:
    await read_json(data, kind.model_validate)


def repeated(head: bytes, item: bytes, tail: bytes, size: int = MIB) -> bytes:
    """A body of this size that repeats an item of a list."""
    items = (size - len(head) - len(tail)) // (len(item) + 1)
    return head + b",".join([item] * items) + tail


HOSTILE = {
    "wrong stops": (CompletionBody, repeated(b'{"prompt":"a","stop":[', b"1", b"]}")),
    "wrong messages": (ChatBody, repeated(b'{"messages":[', b"{}", b"]}")),
    "wrong parts": (ChatBody, repeated(b'{"messages":[{"role":"user","content":[', b"0", b"]}]}")),
    "empty messages": (ChatBody, repeated(b'{"messages":[', b'{"role":"user","content":""}', b"]}")),
    "empty parts": (
        ChatBody,
        repeated(b'{"messages":[{"role":"user","content":[', b'{"type":"text","text":""}', b"]}]}"),
    ),
    "empty prompts": (CompletionBody, repeated(b'{"prompt":[', b"[]", b"]}")),
    "a prompt of two kinds": (CompletionBody, repeated(b'{"prompt":[', b"1", b',"a"]}')),
    "tools": (CompletionBody, repeated(b'{"prompt":"a","tools":[', b"{}", b"]}")),
    "an unknown list": (CompletionBody, repeated(b'{"prompt":"a","x":[', b"[]", b"]}")),
    "unknown names": (
        CompletionBody,
        b'{"prompt":"a","x":{' + b",".join(b'"%x":1' % name for name in range(100_000)) + b"}}",
    ),
    "one name again and again": (CompletionBody, repeated(b'{"prompt":"a",', b'"a":1', b"}")),
    "depth": (CompletionBody, b'{"x":' + b"[" * MIB),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_no_body_takes_ten_times_its_size(case: str) -> None:
    kind, body = HOSTILE[case]
    tracemalloc.start()
    try:
        with pytest.raises(ServingError):
            await parse_body(kind, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(body)


def parts_of(value: Any) -> Iterator[str]:
    """What a JSON value is made of, as the limits count it."""
    match value:
        case str():
            yield "string"
        case list():
            yield "container"
            yield from ["comma"] * (len(value) - 1)
            for item in value:
                yield from parts_of(item)
        case dict():
            yield "container"
            yield from ["comma"] * (len(value) - 1)
            for name, item in value.items():
                yield "string"
                yield from (*parts_of(name), *parts_of(item))[1:]


@contextmanager
def small_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_bounds, "MAX_CONTAINERS", 3)
        patched.setattr(json_bounds, "MAX_STRINGS", 4)
        patched.setattr(json_bounds, "MAX_VALUES", 6)
        yield


@settings(deadline=None, max_examples=500)
@given(value=json_values, ascii_only=st.booleans())
def test_a_body_is_refused_for_what_is_outside_of_its_texts(value: Any, ascii_only: bool) -> None:
    parts = list(parts_of(value))
    many = parts.count("container") > 3 or parts.count("string") > 4 or parts.count("comma") >= 6
    try:
        with small_limits():
            check_bounds(json.dumps(value, ensure_ascii=ascii_only).encode())
    except ServingError as error:
        assert many
        assert error.reason is Reason.INVALID_ARGUMENT
    else:
        assert not many


@settings(deadline=None, max_examples=300)
@given(value=json_values, end=st.integers(0, 200))
def test_of_a_body_that_is_cut_all_is_counted(value: Any, end: int) -> None:
    text = json.dumps({"x": value}).encode()
    with small_limits():
        try:
            check_bounds(text)
        except ServingError:
            return
        check_bounds(text[:end])  # no more in a part than in the whole


def test_texts_may_be_of_any_length_and_say_anything() -> None:
    check_bounds(json.dumps({"prompt": 'a[0], {"b": [1, 2]}, "c\\\\"\n' * 50_000}).encode())
    check_bounds(json.dumps({"prompt": [list(range(8192))] * 64}).encode())


async def test_what_is_too_much_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "from_json", None)
    with pytest.raises(ServingError, match="more than 20000 objects and lists"):
        await parse_body(CompletionBody, HOSTILE["an unknown list"][1])


@pytest.mark.parametrize(("size", "elsewhere"), [(1000, False), (MIB, True)])
async def test_a_large_body_is_read_in_another_thread(size: int, elsewhere: bool) -> None:
    threads: list[threading.Thread] = []

    def interpret(body: dict[str, Any]) -> str:
        threads.append(threading.current_thread())
        return str(body["a"][:1])

    assert await read_json(b'{"a": "%s"}' % (b"x" * size), interpret) == "x"
    assert (threads[0] is not threading.current_thread()) == elsewhere


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CompletionBody, {"prompt": "a", "stop": [1] * 1000}),
        (ChatBody, {"messages": [{}] * 1000}),
        (ChatBody, {"messages": [{"role": "user", "content": [0] * 1000}] * 2}),
    ],
)
def test_a_list_is_looked_at_up_to_its_first_wrong_item(kind: type[WireObject], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(body)
    assert refused.value.error_count() <= 2  # both fields of one message


def test_messages_beyond_the_limit_are_not_looked_at() -> None:
    body = {"messages": [{"role": "user", "content": "a"}] * 4096 + [0]}
    with pytest.raises(ValidationError, match="4097 items are more than the limit, 4096"):
        ChatBody.model_validate(body)


class CountingList(list[Any]):
    """Counts the items that were taken from it."""

    taken = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.taken += 1
            yield item


@pytest.mark.parametrize("item", [1, "", [], {"a": {}}])
def test_a_value_is_shown_without_looking_at_all_of_it(item: object) -> None:
    counting = CountingList([item] * 10_000)
    assert len(shown({"a": counting})) == 64
    assert counting.taken < 64


@settings(deadline=None)
@given(value=json_values)
def test_the_beginning_of_a_value_is_shown_as_json(value: Any) -> None:
    whole = json.dumps(value, ensure_ascii=False)
    assert shown(value) == (whole if len(whole) <= 64 else f"{whole[:61]}...")


def fields_of(kind: type[WireObject]) -> list[str]:
    return [*kind.model_fields, "logit_bias", "min_p", "tools", "tool_choice", "response_format"]


def bodies(kind: type[WireObject], honest: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An honest body with any values in some of its fields, and in those of its messages."""
    wrong = st.dictionaries(st.sampled_from(fields_of(kind)), json_values, max_size=3)
    message = st.dictionaries(st.sampled_from(fields_of(ChatMessage)), json_values, max_size=2)
    messages = st.lists(message | json_values, max_size=3).map(lambda some: {"messages": some})
    return st.builds(
        lambda *parts: {name: value for part in parts for name, value in part.items()}, st.just(honest), messages, wrong
    )


@pytest.mark.parametrize(
    ("kind", "honest"),
    [(CompletionBody, {"prompt": "a"}), (ChatBody, {"messages": [{"role": "user", "content": "a"}]})],
)
def test_no_error_names_what_is_pythons(kind: type[Any], honest: dict[str, Any]) -> None:
    names = [each.__name__ for each in every_subclass(WireObject)]
    refused = 0

    @settings(deadline=None, max_examples=300)
    @given(body=bodies(kind, honest))
    def check(body: dict[str, Any]) -> None:
        nonlocal refused
        try:
            runner.run(parse_body(kind, json.dumps(body).encode()))
        except ServingError as error:
            refused += 1
            fault = error.message.rpartition(": ")[2]  # what stands before is the field, and what the client wrote
            assert not [word for word in (*names, *PYTHON_WORDS) if word in f"{error.field} {fault}"]

    with asyncio.Runner() as runner:
        check()
    assert refused


def every_subclass(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from every_subclass(subclass)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": ["Hi"]}, 'messages[0] is "Hi": input should be an object.'),
        ({"messages": [[]]}, "messages[0] is []: input should be an object."),
        ({"messages": {}}, "messages is {}: input should be a valid array."),
        (
            {"messages": [{"role": "user", "content": [5]}]},
            "messages[0].content[0] is 5: input should be an object.",
        ),
        ({"messages": [], "stream_options": 5}, "stream_options is 5: input should be an object."),
    ],
)
async def test_an_error_says_what_is_due_in_jsons_words(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError) as refused:
        await parse_body(ChatBody, json.dumps(body).encode())
    assert refused.value.message == message
