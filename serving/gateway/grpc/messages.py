"""Between the messages of `codegemma.v1` and the gateway's own request and answer."""

from collections.abc import AsyncIterable, Iterable

from codegemma.v1 import code_assist_service_pb2 as pb
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
from codegemma.v1.prompt_pb2 import ChatMessage, FimInput
from google.protobuf.duration_pb2 import Duration

from serving.config import Role
from serving.engine.request import FinishReason
from serving.errors import FieldError, Reason
from serving.gateway.request import (
    ChatPrompt,
    CodeChunk,
    CodeRequest,
    ContextFile,
    FimPrompt,
    Message,
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
_SAMPLING_FIELDS = ("temperature", "top_k", "top_p", "seed", "logprobs")
_WORDS = {name: f"generation_config.{name}" for name in (*_SAMPLING_FIELDS, "max_tokens", "choices")} | {
    "stop": "generation_config.stop_sequences",
    "timeout_s": "timeout",
}
_FINISH_REASONS = {FinishReason.STOP: FINISH_REASON_STOP, FinishReason.LENGTH: FINISH_REASON_LENGTH}
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
        stop=tuple(config.stop_sequences),
        choices=config.choices if config.HasField("choices") else 1,
        timeout_s=_seconds(message.timeout) if message.HasField("timeout") else None,
        session_id=message.session_id,
    )


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
            return _fim(message.fim)
        case "prompt":
            return TextPrompt(message.prompt)
        case "token_ids":
            return TokenPrompt(message.token_ids.ids)
        case _:
            kinds = ", ".join(field.name for field in message.DESCRIPTOR.oneofs_by_name["input"].fields)
            raise FieldError(Reason.INVALID_ARGUMENT, "input", f"is not set. Set one of {kinds}.")


def _fim(message: FimInput) -> FimPrompt:
    files = tuple(ContextFile(file.path, file.text) for file in message.context_files)
    return FimPrompt(prefix=message.prefix, suffix=message.suffix, path=message.path, context_files=files)


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


def _seconds(timeout: Duration) -> float:
    seconds = timeout.seconds + timeout.nanos / 1e9
    if timeout.seconds < 0 or not 0 <= timeout.nanos < 10**9 or seconds == 0:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "timeout",
            f"is {timeout.seconds} s and {timeout.nanos} ns. Send a positive time with 0 to 999999999 ns, or none.",
        )
    return seconds


async def whole_choices(chunks: AsyncIterable[CodeChunk]) -> tuple[list[Choice], CodeChunk]:
    """All choices of an answer, by index, and its last chunk, which has the usage."""
    choices: dict[int, Choice] = {}
    texts: dict[int, list[str]] = {}
    last = CodeChunk()
    async for last in chunks:
        texts.setdefault(last.index, []).append(last.text)
        choices.setdefault(last.index, Choice()).MergeFrom(choice(last))  # piece by piece: there may be many tokens
    for index, whole in choices.items():
        whole.text = "".join(texts[index])
    return [whole for _, whole in sorted(choices.items())], last


def choice(chunk: CodeChunk) -> Choice:
    """A piece of an answer, or one whole choice, as the client gets it."""
    return Choice(
        index=chunk.index,
        text=chunk.text,
        finish_reason=_FINISH_REASONS[chunk.finish_reason] if chunk.finish_reason else None,
        logprobs=[_token_logprob(token) for token in chunk.logprobs],
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
