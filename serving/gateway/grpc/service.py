"""The gRPC wire: the methods of `codegemma.v1`, health and reflection, answered by the `CodeService`."""

# gRPC calls the methods by the names in the .proto files.
# ruff: noqa: N802

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AbstractContextManager, aclosing

from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.feedback_service_pb2 import RecordEventRequest, RecordEventResponse
from codegemma.v1.model_service_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from google.protobuf.message import Message

from serving.config import GatewayConfig
from serving.errors import FieldError, Reason
from serving.gateway.access import Caller
from serving.gateway.grpc import answers, requests
from serving.gateway.grpc.call import Call, GrpcContext, answering
from serving.gateway.grpc.standard import StandardServices
from serving.gateway.request import AnswerPart, CodeRequest, End, Piece
from serving.gateway.service import CodeService
from serving.servers.grpc_server import Received


class GrpcService(StandardServices):
    """The method of each gRPC method's name: what Ray Serve, or any `grpc.aio` server, calls.

    A failed call returns an empty message, which clients do not get to see; its status says what happened. A failed
    stream sends the empty message: Ray Serve's own proxy learns the status of a stream from its last message only.
    """

    def __init__(self, service: CodeService, config: GatewayConfig) -> None:
        super().__init__(self._is_ready)
        self._service = service
        self._config = config

    async def Complete(self, data: Received, grpc_context: GrpcContext) -> pb.CompleteResponse:
        """Completes code."""
        return await self._whole(pb.CompleteRequest, data, grpc_context, pb.CompleteResponse)

    async def StreamComplete(
        self, data: Received, grpc_context: GrpcContext
    ) -> AsyncGenerator[pb.StreamCompleteResponse, None]:
        """Completes code, as it is generated."""
        parts = self._parts(pb.StreamCompleteRequest, data, grpc_context, pb.StreamCompleteResponse)
        async with aclosing(parts):
            async for part in parts:
                yield part

    async def Chat(self, data: Received, grpc_context: GrpcContext) -> pb.ChatResponse:
        """Answers a conversation."""
        return await self._whole(pb.ChatRequest, data, grpc_context, pb.ChatResponse)

    async def StreamChat(
        self, data: Received, grpc_context: GrpcContext
    ) -> AsyncGenerator[pb.StreamChatResponse, None]:
        """Answers a conversation, as the answer is generated."""
        parts = self._parts(pb.StreamChatRequest, data, grpc_context, pb.StreamChatResponse)
        async with aclosing(parts):
            async for part in parts:
                yield part

    async def CountTokens(self, data: Received, grpc_context: GrpcContext) -> pb.CountTokensResponse:
        """Counts the tokens of a prompt."""
        with answering(grpc_context) as call:
            caller, message = await self._admit(pb.CountTokensRequest, data, call)
            with self._reading():
                request = call.metadata.applied(requests.counting_request(message), caller)
                call.words = requests.words(message)
                tokens, model = await self._service.count_tokens(request)
            return pb.CountTokensResponse(tokens=tokens, model=model.id)
        return pb.CountTokensResponse()

    async def RecordEvent(self, data: Received, grpc_context: GrpcContext) -> RecordEventResponse:
        """Takes in what became of a completion."""
        with answering(grpc_context) as call:
            caller, message = await self._admit(RecordEventRequest, data, call)
            with self._reading():
                event = requests.completion_event(message)
                records = self._service.records
                records.completion_event(
                    caller, call.metadata, message.completion_id, event, message.accepted_characters
                )
        return RecordEventResponse()

    async def ListModels(self, data: Received, grpc_context: GrpcContext) -> ListModelsResponse:
        """Lists all models."""
        with answering(grpc_context) as call:
            caller, _ = await self._admit(ListModelsRequest, data, call)
            return ListModelsResponse(models=[answers.model(info) for info in self._service.models(caller.adapters)])
        return ListModelsResponse()

    async def GetModel(self, data: Received, grpc_context: GrpcContext) -> GetModelResponse:
        """Describes one model."""
        with answering(grpc_context) as call:
            caller, request = await self._admit(GetModelRequest, data, call)
            with self._reading():
                if not request.model:
                    raise FieldError(Reason.INVALID_ARGUMENT, "model", "is empty. Name a model.")
                model = await self._service.model(request.model, caller.adapters)
                return GetModelResponse(model=answers.model(model))
        return GetModelResponse()

    async def _whole[R: (pb.CompleteResponse, pb.ChatResponse)](
        self, kind: type[requests.GenerationMessage], data: Received, context: GrpcContext, response: type[R]
    ) -> R:
        with answering(context) as call:
            request = await self._generation_request(kind, data, call)
            async with aclosing(self._service.generate(request)) as parts:
                choices, end = await answers.whole_choices(parts)
            return response(
                choices=choices,
                model=end.model,
                model_version=end.model_version,
                usage=answers.usage(end.usage),
                request_id=call.metadata.request_id,
                **answers.completion_end(response, end),
            )
        return response()

    async def _parts[R: (pb.StreamCompleteResponse, pb.StreamChatResponse)](
        self, kind: type[requests.GenerationMessage], data: Received, context: GrpcContext, response: type[R]
    ) -> AsyncGenerator[R, None]:
        with answering(context) as call:
            request = await self._generation_request(kind, data, call)
            async with (
                aclosing(self._service.generate(request)) as parts,
                aclosing(_with_its_end(parts)) as pieces,
            ):
                async for piece, end in pieces:
                    yield response(
                        choice=answers.choice(piece),
                        model=piece.model,
                        model_version=piece.model_version,
                        usage=answers.usage(end.usage) if end else None,
                        request_id=call.metadata.request_id,
                        **(answers.completion_end(response, end) if end else {}),
                    )
            return
        yield response()

    async def _generation_request(
        self, kind: type[requests.GenerationMessage], data: Received, call: Call
    ) -> CodeRequest:
        caller, message = await self._admit(kind, data, call)
        with self._reading():
            request = call.metadata.applied(requests.generation_request(message), caller)
        call.words = requests.words(message)
        return request

    async def _is_ready(self) -> bool:
        return (await self._service.health()).ready

    async def _admit[M: Message](self, kind: type[M], data: Received, call: Call) -> tuple[Caller, M]:
        """Who calls and, once that is known, the message."""
        with self._reading():
            caller = await call.metadata.caller(self._service.access)
            return caller, call.message(kind, data, self._config.max_body_bytes)

    def _reading(self) -> AbstractContextManager[None]:
        return self._service.records.reading("grpc")


async def _with_its_end(parts: AsyncIterable[AnswerPart]) -> AsyncGenerator[tuple[Piece, End | None], None]:
    """The pieces; the one that ends the last choice with the answer's end."""
    last: Piece | None = None
    async for part in parts:
        if last:
            yield last, part if isinstance(part, End) else None
        last = part if isinstance(part, Piece) and part.finish_reason else None
        if isinstance(part, Piece) and not last:
            yield part, None
