"""Client: the gRPC API for programs without an event loop."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from google.protobuf.message import Message

from codegemma.client import requests
from codegemma.client.channel import ApiKey, call_metadata, channel_options
from codegemma.client.errors import api_error
from codegemma.client.requests import CallOptions, CompletionOptions, Prompt
from codegemma.client.stream import Stream
from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.feedback_service_pb2 import CompletionEvent, RecordEventRequest
from codegemma.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from codegemma.v1.model_pb2 import Model
from codegemma.v1.model_service_pb2 import ListModelsRequest, ListModelsResponse
from codegemma.v1.model_service_pb2_grpc import ModelServiceStub
from codegemma.v1.prompt_pb2 import ChatMessage


class Client:
    """A connection to a server, for any number of threads; use it as a context manager, or close it.

    Every method raises `ApiError`, a stream while it is read. Calls that fail with UNAVAILABLE before anything has
    come are tried up to four times within their timeout.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: ApiKey = "",
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 300.0,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Connects with the first call.

        Args:
          target: HOST:PORT, or another name that gRPC resolves.
          api_key: an API key or another bearer token, or a function that returns it.
          credentials: for TLS, such as `grpc.ssl_channel_credentials()`; None sends plain text, the key included.
          timeout: seconds for a call that names no other.
          options: channel arguments of gRPC beside or instead of this client's own.
        """
        arguments = channel_options(options)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, arguments)
        else:
            self._channel = grpc.secure_channel(target, credentials, arguments)
        self._code = CodeAssistServiceStub(self._channel)
        self._feedback = FeedbackServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)
        self._api_key = api_key
        self._timeout = timeout

    def complete(self, prompt: Prompt, **options: Unpack[CompletionOptions]) -> pb.CompleteResponse:
        """Completes code, and returns when all of it is there."""
        timeout = options.get("timeout", self._timeout)
        request = requests.completion(pb.CompleteRequest, prompt, options, timeout)
        answer: pb.CompleteResponse = self._call(self._code.Complete, request, timeout)
        return answer

    def stream_complete(
        self, prompt: Prompt, **options: Unpack[CompletionOptions]
    ) -> Stream[pb.StreamCompleteResponse]:
        """Completes code, and returns it while it is generated."""
        timeout = options.get("timeout", self._timeout)
        request = requests.completion(pb.StreamCompleteRequest, prompt, options, timeout)
        return Stream(self._code.StreamComplete(request, timeout=timeout, metadata=call_metadata(self._api_key)))

    def chat(self, messages: Sequence[ChatMessage], **options: Unpack[CallOptions]) -> pb.ChatResponse:
        """Answers a conversation, oldest message first, and returns when all of the answer is there."""
        timeout = options.get("timeout", self._timeout)
        request = requests.chat(pb.ChatRequest, messages, options, timeout)
        answer: pb.ChatResponse = self._call(self._code.Chat, request, timeout)
        return answer

    def stream_chat(
        self, messages: Sequence[ChatMessage], **options: Unpack[CallOptions]
    ) -> Stream[pb.StreamChatResponse]:
        """Answers a conversation, oldest message first, and returns the answer while it is generated."""
        timeout = options.get("timeout", self._timeout)
        request = requests.chat(pb.StreamChatRequest, messages, options, timeout)
        return Stream(self._code.StreamChat(request, timeout=timeout, metadata=call_metadata(self._api_key)))

    def count_tokens(
        self, prompt: Prompt | Sequence[ChatMessage], *, model: str = "", timeout: float | None = None
    ) -> pb.CountTokensResponse:
        """Counts the tokens of a prompt or a conversation as the model would be given it, and generates nothing."""
        request = requests.counting(prompt, model)
        answer: pb.CountTokensResponse = self._call(self._code.CountTokens, request, timeout)
        return answer

    def record_event(
        self,
        completion_id: str,
        event: CompletionEvent,
        *,
        accepted_characters: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Reports what became of a completion, named by the `completion_id` of its answer."""
        request = RecordEventRequest(completion_id=completion_id, event=event, accepted_characters=accepted_characters)
        self._call(self._feedback.RecordEvent, request, timeout)

    def models(self, *, timeout: float | None = None) -> list[Model]:
        """The server's models, in the order of its configuration."""
        answer: ListModelsResponse = self._call(self._models.ListModels, ListModelsRequest(), timeout)
        return list(answer.models)

    def close(self) -> None:
        """Ends the connection and every call that is still running."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, method: Any, request: Message, timeout: float | None) -> Any:
        seconds = self._timeout if timeout is None else timeout
        try:
            return method(request, timeout=seconds, metadata=call_metadata(self._api_key))
        except grpc.RpcError as error:
            raise api_error(error) from None
