"""From the messages of `codegemma.v1` to the gateway's requests, and what they call their fields."""

from collections.abc import Iterable
from typing import Any

from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.feedback_service_pb2 import (
    COMPLETION_EVENT_ACCEPTED,
    COMPLETION_EVENT_PARTLY_ACCEPTED,
    COMPLETION_EVENT_REJECTED,
    COMPLETION_EVENT_SHOWN,
    RecordEventRequest,
)
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import ChatMessage
from google.protobuf.duration_pb2 import Duration

from serving.errors import FieldError, Reason
from serving.gateway.feedback.feedback import CompletionEvent
from serving.gateway.grpc.fim import fim_prompt, post_processing
from serving.gateway.request import ChatPrompt, CodeRequest, Message, Prompt, Speaker, TextPrompt, TokenPrompt
from sharding.step import SamplingParams

CompletionMessage = pb.CompleteRequest | pb.StreamCompleteRequest
ConversationMessage = pb.ChatRequest | pb.StreamChatRequest
GenerationMessage = CompletionMessage | ConversationMessage

_SPEAKERS = {
    ChatMessage.ROLE_SYSTEM: Speaker.SYSTEM,
    ChatMessage.ROLE_USER: Speaker.USER,
    ChatMessage.ROLE_MODEL: Speaker.MODEL,
}
_SAMPLING_FIELDS = (
    "temperature",
    "top_k",
    "top_p",
    "seed",
    "logprobs",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
_CONFIG_FIELDS = (*_SAMPLING_FIELDS, "max_tokens", "choices", "prompt_logprobs", "logit_bias")
_WORDS = {name: f"generation_config.{name}" for name in _CONFIG_FIELDS} | {
    "stop": "generation_config.stop_sequences",
    "timeout_s": "timeout",
}
_EVENTS = {
    COMPLETION_EVENT_SHOWN: CompletionEvent.SHOWN,
    COMPLETION_EVENT_ACCEPTED: CompletionEvent.ACCEPTED,
    COMPLETION_EVENT_PARTLY_ACCEPTED: CompletionEvent.PARTLY_ACCEPTED,
    COMPLETION_EVENT_REJECTED: CompletionEvent.REJECTED,
}


def generation_request(message: GenerationMessage) -> CodeRequest:
    """The request in the gateway's terms.

    Raises:
      ServingError: INVALID_ARGUMENT with the message's field, for what the gateway's request cannot express.
    """
    if isinstance(message, ConversationMessage):
        prompt: Prompt = _conversation(message.messages, "messages")
    else:
        prompt = _completion_input(message)
    config = message.generation_config
    return CodeRequest(
        prompt=prompt,
        model=message.model or None,
        max_tokens=config.max_tokens if config.HasField("max_tokens") else None,
        sampling=_sampling(config),
        logit_bias=tuple(sorted(config.logit_bias.items())),
        stop=tuple(config.stop_sequences),
        choices=config.choices if config.HasField("choices") else 1,
        prompt_logprobs=config.prompt_logprobs,
        timeout_s=_seconds(message.timeout, "timeout") if message.HasField("timeout") else None,
        session_id=message.session_id,
        **_completion_fields(message),
    )


def _completion_fields(message: GenerationMessage) -> dict[str, Any]:
    if isinstance(message, ConversationMessage):
        return {}
    return {
        "post_processing": post_processing(message.post_processing),
        "language": message.fim.language,
        "predict_s": _seconds(message.time_budget, "time_budget") if message.HasField("time_budget") else None,
    }


def counting_request(message: pb.CountTokensRequest) -> CodeRequest:
    """The request whose prompt is counted.

    Raises:
      ServingError: as for `generation_request`.
    """
    if message.HasField("chat"):
        prompt: Prompt = _conversation(message.chat.messages, "chat.messages")
    else:
        prompt = _completion_input(message)
    return CodeRequest(prompt=prompt, model=message.model or None)


def words(message: GenerationMessage | pb.CountTokensRequest) -> dict[str, str]:
    """What a message calls the fields of its request, where that is another name."""
    if isinstance(message, ConversationMessage):
        return _WORDS
    if isinstance(message, pb.CountTokensRequest) and message.HasField("chat"):
        return {"messages": "chat.messages"}
    match message.WhichOneof("input"):
        case "fim":
            return _WORDS | {name: f"fim.{name}" for name in ("prefix", "suffix", "path", "context_files")}
        case "token_ids":
            return _WORDS | {"prompt": "token_ids"}
        case _:
            return _WORDS


def _completion_input(message: CompletionMessage | pb.CountTokensRequest) -> Prompt:
    match message.WhichOneof("input"):
        case "fim":
            return fim_prompt(message.fim)
        case "prompt":
            return TextPrompt(message.prompt)
        case "token_ids":
            return TokenPrompt(message.token_ids.ids)
        case _:
            kinds = ", ".join(field.name for field in message.DESCRIPTOR.oneofs_by_name["input"].fields)
            raise FieldError(Reason.INVALID_ARGUMENT, "input", f"is not set. Set one of {kinds}.")


def _conversation(messages: Iterable[ChatMessage], field: str) -> ChatPrompt:
    turns = []
    for position, message in enumerate(messages):
        if message.role not in _SPEAKERS:
            raise FieldError(
                Reason.INVALID_ARGUMENT,
                field,
                f"is {message.role}. Set ROLE_SYSTEM, ROLE_USER or ROLE_MODEL.",
                f"[{position}].role",
            )
        turns.append(Message(_SPEAKERS[message.role], message.text))
    return ChatPrompt(tuple(turns))


def _sampling(config: GenerationConfig) -> SamplingParams:
    return SamplingParams(**{name: getattr(config, name) for name in _SAMPLING_FIELDS if config.HasField(name)})


def _seconds(time: Duration, field: str) -> float:
    seconds = time.seconds + time.nanos / 1e9
    if time.seconds < 0 or not 0 <= time.nanos < 10**9 or seconds == 0:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            field,
            f"is {time.seconds} s and {time.nanos} ns. Send a positive time with 0 to 999999999 ns, or none.",
        )
    return seconds


def completion_event(message: RecordEventRequest) -> CompletionEvent:
    """What became of a completion.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if message.event not in _EVENTS:
        names = ", ".join(f"COMPLETION_EVENT_{event.name}" for event in CompletionEvent)
        raise FieldError(Reason.INVALID_ARGUMENT, "event", f"is {message.event}. Set one of {names}.")
    return _EVENTS[message.event]
