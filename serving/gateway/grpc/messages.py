"""Between the messages of `codegemma.v1` and the gateway's own request and answer."""

from collections.abc import AsyncIterable, Iterable
from typing import Any

from codegemma.v1 import code_assist_service_pb2 as pb
from codegemma.v1.feedback_service_pb2 import (
    COMPLETION_EVENT_ACCEPTED,
    COMPLETION_EVENT_PARTLY_ACCEPTED,
    COMPLETION_EVENT_REJECTED,
    COMPLETION_EVENT_SHOWN,
    RecordEventRequest,
)
from codegemma.v1.generation_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    Choice,
    GenerationConfig,
)
from codegemma.v1.generation_pb2 import TokenLogprob as TokenLogprobMessage
from codegemma.v1.generation_pb2 import Usage as UsageMessage
from codegemma.v1.model_pb2 import (
    FIM_SUPPORT_NATIVE,
    FIM_SUPPORT_NONE,
    FIM_SUPPORT_PREFIX,
    MODEL_ROLE_CHAT,
    MODEL_ROLE_FIM,
    Model,
)
from codegemma.v1.prompt_pb2 import ChatMessage
from google.protobuf import message as protobuf
from google.protobuf.duration_pb2 import Duration

from serving.config import Role
from serving.engine.request import FinishReason
from serving.errors import FieldError, Reason
from serving.gateway.feedback.feedback import CompletionEvent
from serving.gateway.grpc.fim import fim_prompt, post_processing, truncation
from serving.gateway.request import (
    AnswerPart,
    ChatPrompt,
    CodeRequest,
    End,
    Message,
    Piece,
    Prompt,
    Speaker,
    TextPrompt,
    TokenLogprob,
    TokenPrompt,
    Usage,
)
from serving.gateway.service import ModelInfo
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
_FINISH_REASONS = {FinishReason.STOP: FINISH_REASON_STOP, FinishReason.LENGTH: FINISH_REASON_LENGTH}
_EVENTS = {
    COMPLETION_EVENT_SHOWN: CompletionEvent.SHOWN,
    COMPLETION_EVENT_ACCEPTED: CompletionEvent.ACCEPTED,
    COMPLETION_EVENT_PARTLY_ACCEPTED: CompletionEvent.PARTLY_ACCEPTED,
    COMPLETION_EVENT_REJECTED: CompletionEvent.REJECTED,
}
_ROLES = {Role.FIM: MODEL_ROLE_FIM, Role.CHAT: MODEL_ROLE_CHAT}
_FIM_SUPPORT = {"native": FIM_SUPPORT_NATIVE, "prefix": FIM_SUPPORT_PREFIX, None: FIM_SUPPORT_NONE}


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


async def whole_choices(parts: AsyncIterable[AnswerPart]) -> tuple[list[Choice], End]:
    """All choices of an answer, by index, and its end."""
    choices: dict[int, Choice] = {}
    texts: dict[int, list[str]] = {}
    end = End()
    async for part in parts:
        if isinstance(part, End):
            end = part
        else:
            texts.setdefault(part.index, []).append(part.text)
            choices.setdefault(part.index, Choice()).MergeFrom(choice(part))  # piece by piece: there may be many
    for index, whole in choices.items():
        whole.text = "".join(texts[index])
    return [whole for _, whole in sorted(choices.items())], end


def completion_end(response: type[protobuf.Message], end: End) -> dict[str, Any]:
    """What a completion says at its end beside its usage; nothing of a conversation's answer."""
    if "completion_id" not in response.DESCRIPTOR.fields_by_name:
        return {}
    return {"truncation": truncation(end.truncation), "completion_id": end.completion_id}


def completion_event(message: RecordEventRequest) -> CompletionEvent:
    """What became of a completion.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if message.event not in _EVENTS:
        names = ", ".join(f"COMPLETION_EVENT_{event.name}" for event in CompletionEvent)
        raise FieldError(Reason.INVALID_ARGUMENT, "event", f"is {message.event}. Set one of {names}.")
    return _EVENTS[message.event]


def choice(piece: Piece) -> Choice:
    """A piece of an answer, or one whole choice, as the client gets it."""
    return Choice(
        index=piece.index,
        text=piece.text,
        finish_reason=_FINISH_REASONS[piece.finish_reason] if piece.finish_reason else None,
        logprobs=map(_token_logprob, piece.logprobs),
        prompt_logprobs=map(_token_logprob, piece.prompt_logprobs),
    )


def _token_logprob(token: TokenLogprob) -> TokenLogprobMessage:
    top = [_token_logprob(other) for other in token.top]
    return TokenLogprobMessage(token=token.token, token_bytes=token.bytes, logprob=token.logprob, top=top)


def usage(tokens: Usage) -> UsageMessage:
    """The request's token counts as the client gets them."""
    return UsageMessage(
        prompt_tokens=tokens.prompt_tokens,
        cached_tokens=tokens.cached_tokens,
        completion_tokens=tokens.completion_tokens,
    )


def model(info: ModelInfo) -> Model:
    """A model as the client gets it."""
    return Model(
        id=info.id,
        aliases=info.aliases,
        roles=[_ROLES[role] for role in info.roles],
        fim_support=_FIM_SUPPORT[info.fim],
        context_length=info.context_length,
        version=info.version,
    )
