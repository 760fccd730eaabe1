r"""Client of codegemma-serving's gRPC API, `codegemma.v1`: complete code and chat about it, sync and async.

    from codegemma.client import Client, FimInput

    with Client("127.0.0.1:9000") as client:
        for part in client.stream_complete(FimInput(prefix="def add(a, b):\n    ", suffix="\n")):
            print(part.choice.text, end="", flush=True)

Requests and answers are made of the messages of the .proto files, which say what each field means.
"""

from codegemma.client.async_client import AsyncClient
from codegemma.client.async_stream import AsyncStream
from codegemma.client.client import Client
from codegemma.client.errors import (
    AbortedError,
    ApiError,
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from codegemma.client.requests import CallOptions, CompletionOptions
from codegemma.client.stream import Stream
from codegemma.v1.code_assist_service_pb2 import (
    ChatResponse,
    CompleteResponse,
    CountTokensResponse,
    StreamChatResponse,
    StreamCompleteResponse,
)
from codegemma.v1.completion_pb2 import PostProcessing, Truncation
from codegemma.v1.feedback_service_pb2 import CompletionEvent
from codegemma.v1.generation_pb2 import FinishReason, GenerationConfig
from codegemma.v1.model_pb2 import Model
from codegemma.v1.prompt_pb2 import ChatMessage, ContextFile, FimInput, TokenIds

__all__ = [
    "AbortedError",
    "ApiError",
    "AsyncClient",
    "AsyncStream",
    "CallOptions",
    "CancelledError",
    "ChatMessage",
    "ChatResponse",
    "Client",
    "CompleteResponse",
    "CompletionEvent",
    "CompletionOptions",
    "ContextFile",
    "CountTokensResponse",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "FimInput",
    "FinishReason",
    "GenerationConfig",
    "InternalError",
    "InvalidArgumentError",
    "Model",
    "NotFoundError",
    "PermissionDeniedError",
    "PostProcessing",
    "ResourceExhaustedError",
    "Stream",
    "StreamChatResponse",
    "StreamCompleteResponse",
    "TokenIds",
    "Truncation",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
]
