"""Anthropic's wire, inwards: from request bodies to the gateway's requests."""

from serving.gateway.http.anthropic.schema import ConversationBody, MessageBody
from serving.gateway.request import ChatPrompt, CodeRequest, Message, Speaker
from serving.gateway.sampling import new_seed
from sharding.step import SamplingParams

_SPEAKERS = {"user": Speaker.USER, "assistant": Speaker.MODEL}
WORDS = {"stop": "stop_sequences"}
"""What a body calls fields of a `CodeRequest`."""


def message_request(body: MessageBody) -> CodeRequest:
    """The request for the next message."""
    return CodeRequest(
        prompt=_prompt(body),
        model=body.model,
        max_tokens=body.max_tokens,
        sampling=SamplingParams(
            temperature=body.temperature,
            top_k=max(body.top_k, 0),
            top_p=body.top_p,
            seed=new_seed(),
        ),
        stop=tuple(filter(None, body.stop_sequences)),
    )


def conversation_request(body: ConversationBody) -> CodeRequest:
    """The request of a conversation that is counted only."""
    return CodeRequest(prompt=_prompt(body), model=body.model)


def _prompt(body: ConversationBody) -> ChatPrompt:
    system = "\n\n".join(block.text for block in body.system)
    messages = [
        Message(_SPEAKERS[message.role], "\n\n".join(block.words for block in message.content))
        for message in body.messages
    ]
    return ChatPrompt((Message(Speaker.SYSTEM, system), *messages) if system else tuple(messages))
