"""From the gateway's answers to the messages of `codegemma.v1`."""

from collections.abc import AsyncIterable
from typing import Any

from codegemma.v1.generation_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, Choice
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
from google.protobuf import message as protobuf

from serving.config import Role
from serving.engine.request import FinishReason
from serving.gateway.grpc.fim import truncation
from serving.gateway.request import AnswerPart, End, Piece, TokenLogprob, Usage
from serving.gateway.service import ModelInfo

_FINISH_REASONS = {FinishReason.STOP: FINISH_REASON_STOP, FinishReason.LENGTH: FINISH_REASON_LENGTH}
_ROLES = {Role.FIM: MODEL_ROLE_FIM, Role.CHAT: MODEL_ROLE_CHAT}
_FIM_SUPPORT = {"native": FIM_SUPPORT_NATIVE, "prefix": FIM_SUPPORT_PREFIX, None: FIM_SUPPORT_NONE}


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
