"""Ollama's wire, inwards: from request bodies to the gateway's requests."""

from serving.config import Role
from serving.errors import Reason, ServingError
from serving.gateway.http.ollama.schema import AnswerBody, ChatBody, GenerateBody
from serving.gateway.http.unsupported import unsupported
from serving.gateway.request import ChatPrompt, CodeRequest, FimPrompt, Message, Prompt, Speaker, TextPrompt
from serving.gateway.sampling import new_seed, of_last
from serving.gateway.service import ModelInfo
from sharding.step import SamplingParams

_SPEAKERS = {
    "system": Speaker.SYSTEM,
    "user": Speaker.USER,
    "tool": Speaker.USER,  # Gemma has no turn of its own for what a tool says
    "assistant": Speaker.MODEL,
}
_CHAT_TEMPERATURE, _CHAT_TOP_K, _CHAT_TOP_P = 0.8, 40, 0.9
"""Ollama's own. Code is completed greedily: an editor that asks again wants the same."""
WORDS = {
    "frequency_penalty": "options.frequency_penalty",
    "logprobs": "top_logprobs",
    "max_tokens": "options.num_predict",
    "min_p": "options.min_p",
    "prefix": "prompt",
    "presence_penalty": "options.presence_penalty",
    "repetition_penalty": "options.repeat_penalty",
    "seed": "options.seed",
    "stop": "options.stop",
    "temperature": "options.temperature",
    "top_k": "options.top_k",
    "top_p": "options.top_p",
}
"""What a body calls fields of a `CodeRequest`."""


def generate_request(body: GenerateBody, model: ModelInfo) -> CodeRequest:
    """The request of a body with a prompt or a suffix.

    A suffix asks to fill in. A prompt without is continued as it is by a model that fills in, as the templates of such
    models have it in Ollama, and so is a `raw` one. To a model that only chats, or with a `system` text, it is a
    question.

    Raises:
      ServingError: ROLE_NOT_SERVED; UNSUPPORTED_PARAMETER.
    """
    return _request(body, model, _prompt(body, model))


def chat_request(body: ChatBody, model: ModelInfo) -> CodeRequest:
    """The request of a conversation."""
    messages = tuple(Message(_SPEAKERS[each.role], each.text) for each in body.messages)
    return _request(body, model, ChatPrompt(messages))


def _prompt(body: GenerateBody, model: ModelInfo) -> Prompt:
    if body.suffix and not body.raw:
        if model.fim is None:
            raise ServingError(Reason.ROLE_NOT_SERVED, f'"{body.model}" does not support insert: leave out the suffix.')
        prompt: Prompt = FimPrompt(prefix=body.prompt, suffix=body.suffix)
    elif body.suffix:
        raise unsupported("suffix", "is not part of a raw prompt.")
    elif Role.CHAT in model.roles and not body.raw and (body.system or model.fim is None):
        system = (Message(Speaker.SYSTEM, body.system),) if body.system else ()
        return ChatPrompt((*system, Message(Speaker.USER, body.prompt)))
    else:
        prompt = TextPrompt(body.prompt)
    if body.system:
        raise unsupported("system", "is understood in a prompt to a model that chats, without a suffix and not raw.")
    return prompt


def _request(body: AnswerBody, model: ModelInfo, prompt: Prompt) -> CodeRequest:
    options = body.options
    is_chat = isinstance(prompt, ChatPrompt)
    temperature, top_k, top_p = (_CHAT_TEMPERATURE, _CHAT_TOP_K, _CHAT_TOP_P) if is_chat else (0.0, 0, 1.0)
    return CodeRequest(
        prompt=prompt,
        model=model.id,
        max_tokens=options.num_predict if options.num_predict > 0 else None,
        sampling=of_last(
            SamplingParams(
                temperature=temperature if options.temperature is None else options.temperature,
                top_k=top_k if options.top_k is None else max(options.top_k, 0),
                top_p=top_p if options.top_p is None else options.top_p,
                min_p=max(options.min_p, 0.0),
                seed=new_seed() if options.seed is None else options.seed,
                logprobs=body.top_logprobs if body.logprobs else None,
                presence_penalty=options.presence_penalty,
                frequency_penalty=options.frequency_penalty,
                repetition_penalty=options.repeat_penalty,
            ),
            options.repeat_last_n,
        ),
        stop=tuple(filter(None, options.stop)),
    )
