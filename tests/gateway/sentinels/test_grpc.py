"""No text in a structured field of any gRPC method becomes a control token of the prompt that the engine receives."""

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz.grpc_cases import METHODS
from tests.gateway.grpc_server import grpc_server
from tests.gateway.scripted_backend import ScriptedBackend, one_model_service
from tests.gateway.sentinels.fields import Json, text_fields
from tests.gateway.sentinels.injection import Context, Injection

_COMPLETE = [
    Context({"fim": {"prefix": "a", "suffix": "b"}}),
    Context({"prompt": "a"}, frozenset({"prompt"})),
    Context({}, frozenset({"prompt"})),
]
_CHAT = [Context({"messages": [{"role": "ROLE_USER", "text": "a"}]})]
_CONTEXTS = {
    "Complete": _COMPLETE,
    "StreamComplete": _COMPLETE,
    "CountTokens": _COMPLETE,
    "Chat": _CHAT,
    "StreamChat": _CHAT,
}
"""Method -> messages to which fields are added, one for each kind of prompt; for others it is empty."""
_NAMES = frozenset({"completion_id", "model", "service"})
"""Fields with which no text is answered, as they name something."""
_ENDLESS = frozenset({"Watch"})


def _schema(kind: Descriptor) -> Json:
    """A message as JSON Schema has it."""
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in kind.fields},
        "required": [field.name for field in kind.fields if field.enum_type and not field.is_repeated],
    }


def _field_schema(field: FieldDescriptor) -> Json:
    one: Json = {"type": "integer"}
    if field.message_type:
        one = _schema(field.message_type)
    elif field.enum_type:
        one = {"enum": [value.name for value in field.enum_type.values if value.number]}
    elif field.type == FieldDescriptor.TYPE_STRING:
        one = {"type": "string"}
    return {"type": "array", "items": one} if field.is_repeated else one


@pytest.mark.parametrize("vocabulary", ["codegemma", "gemma3"])
@pytest.mark.parametrize("path", [path for path in METHODS if path.rpartition("/")[2] not in _ENDLESS])
async def test_no_text_of_a_structured_field_becomes_a_control_token(
    request: pytest.FixtureRequest, vocabulary: str, path: str
) -> None:
    method = METHODS[path]
    backend = ScriptedBackend(request.getfixturevalue(vocabulary), "a")
    async with (
        grpc_server(one_model_service(backend)) as target,
        grpc.aio.insecure_channel(target) as channel,
    ):

        async def ask(body: Json) -> bool:
            try:
                message = ParseDict(body, GetMessageClass(method.input_type)())
            except ParseError:
                return False  # two of a oneof
            try:
                await _call(channel, method, path, message.SerializeToString())
            except grpc.aio.AioRpcError as error:
                assert error.code() is not grpc.StatusCode.INTERNAL
                return False
            return True

        contexts = _CONTEXTS.get(method.name, [Context({})])
        injection = Injection(ask, backend, contexts, text_fields(_schema(method.input_type), {}))
        await injection.run()
    assert not injection.found, "\n".join(injection.found[:5])
    assert {each.path for each in injection.fields} - injection.answered <= _NAMES
    assert injection.arrived or not injection.has_prompts
    assert injection.has_prompts == (method.name in _CONTEXTS and method.name != "CountTokens")


async def _call(channel: grpc.aio.Channel, method: MethodDescriptor, path: str, data: bytes) -> None:
    if method.client_streaming:
        both: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        async for _ in both(iter((data,))):
            pass
    elif method.server_streaming:
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        async for _ in stream(data):
            pass
    else:
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        await unary(data)
