"""What the methods of both clients take, as the messages that are sent."""

from collections.abc import Sequence
from typing import Any, TypedDict

from google.protobuf.duration_pb2 import Duration

from codegemma.v1.code_assist_service_pb2 import (
    ChatRequest,
    CompleteRequest,
    CountTokensRequest,
    StreamChatRequest,
    StreamCompleteRequest,
)
from codegemma.v1.completion_pb2 import PostProcessing
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import ChatInput, ChatMessage, FimInput, TokenIds

type Prompt = FimInput | str | TokenIds
"""A place in a file to fill in code at; a text to continue, in which control tokens count; or token ids."""


class CallOptions(TypedDict, total=False):
    """What every request may say besides its prompt. What is left out is the server's choice.

    Attributes:
      model: an id or alias; by default the one for this kind of request.
      generation_config: how to generate: tokens, temperature, seed, stop sequences and so on.
      session_id: names one cursor in one file, or one conversation; a newer fill-in-the-middle request ends an older
        one of the same session, which fails with `AbortedError`.
      request_id: names the request in answers and logs.
      timeout: seconds for the call, retries included; by default the client's. The server stops working on it then.
    """

    model: str
    generation_config: GenerationConfig
    session_id: str
    request_id: str
    timeout: float


class CompletionOptions(CallOptions, total=False):
    """What a request to complete code may say besides.

    Attributes:
      time_budget: seconds from the first text on after which the answer ends with what there is, once it has a line
        break; by default there is no such limit.
      post_processing: what is done to an answer that fills in code; by default all but `single_line`.
    """

    time_budget: float
    post_processing: PostProcessing


def completion[M: (CompleteRequest, StreamCompleteRequest)](
    kind: type[M], prompt: Prompt, options: CompletionOptions, timeout: float
) -> M:
    """The message that asks for a completion, within `timeout` seconds."""
    message = kind(**_input(prompt), post_processing=options.get("post_processing"))
    if "time_budget" in options:
        message.time_budget.CopyFrom(_duration(options["time_budget"]))
    return _with_options(message, options, timeout)


def chat[M: (ChatRequest, StreamChatRequest)](
    kind: type[M], messages: Sequence[ChatMessage], options: CallOptions, timeout: float
) -> M:
    """The message that asks for the next message of a conversation, within `timeout` seconds."""
    return _with_options(kind(messages=messages), options, timeout)


def counting(prompt: Prompt | Sequence[ChatMessage], model: str) -> CountTokensRequest:
    """The message that asks how many tokens a prompt has."""
    if isinstance(prompt, FimInput | str | TokenIds):
        return CountTokensRequest(model=model, **_input(prompt))
    return CountTokensRequest(model=model, chat=ChatInput(messages=prompt))


def _input(prompt: Prompt) -> dict[str, Any]:
    match prompt:
        case FimInput():
            return {"fim": prompt}
        case TokenIds():
            return {"token_ids": prompt}
        case _:
            return {"prompt": prompt}


def _with_options[M: (CompleteRequest, StreamCompleteRequest, ChatRequest, StreamChatRequest)](
    message: M, options: CallOptions, timeout: float
) -> M:
    about = type(message)(
        timeout=_duration(timeout),
        model=options.get("model"),
        generation_config=options.get("generation_config"),
        session_id=options.get("session_id"),
        request_id=options.get("request_id"),
    )
    message.MergeFrom(about)
    return message


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
