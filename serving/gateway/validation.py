"""Checks of a request's fields: what cannot be answered is refused with the field, its value and the remedy."""

import math
import re

from serving.engine.request import MAX_LOGPROBS
from serving.errors import Reason, ServingError
from serving.gateway.request import ChatPrompt, CodeRequest, FimPrompt, Prompt, TextPrompt, TokenPrompt

MAX_STOPS = 16
MAX_CHOICES = 8
MAX_SEED = 2**32 - 1
MAX_TEMPERATURE = 2.0


def check_request(request: CodeRequest, vocab_size: int) -> None:
    """Refuses fields that are out of range.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    sampling = request.sampling
    if not 0 <= sampling.temperature <= MAX_TEMPERATURE:
        raise _refused("temperature", sampling.temperature, f"0 to {MAX_TEMPERATURE:g}")
    if not 0 < sampling.top_p <= 1:
        raise _refused("top_p", sampling.top_p, "above 0, up to 1")
    _check_range("top_k", sampling.top_k, 0, vocab_size)
    _check_range("seed", sampling.seed, 0, MAX_SEED)
    if sampling.logprobs is not None:
        _check_range("logprobs", sampling.logprobs, 0, MAX_LOGPROBS)
    if request.max_tokens is not None and request.max_tokens < 1:
        raise _refused("max_tokens", request.max_tokens, "1 or more")
    _check_range("choices", request.choices, 1, MAX_CHOICES)
    if request.timeout_s is not None and not 0 < request.timeout_s < math.inf:
        raise _refused("timeout_s", request.timeout_s, "above 0")
    if len(request.stop) > MAX_STOPS:
        raise _invalid("stop", f"stop has {len(request.stop)} texts; at most {MAX_STOPS} are allowed.")
    for position, stop in enumerate(request.stop):
        if not stop:
            raise _invalid(f"stop[{position}]", f"stop[{position}] is empty. Leave it out.")
    _check_not_empty(request.prompt)


def prompt_field(prompt: Prompt) -> str:
    """The field that a prompt's text is in."""
    match prompt:
        case FimPrompt():
            return "prefix"
        case ChatPrompt():
            return "messages"
        case _:
            return "prompt"


def prompt_bytes(prompt: Prompt) -> int:
    """UTF-8 bytes of a prompt's text; 0 for token ids."""
    match prompt:
        case FimPrompt():
            files = (text for file in prompt.context_files for text in (file.path, file.text))
            texts: tuple[str, ...] = (prompt.prefix, prompt.suffix, prompt.path, *files)
        case TextPrompt(text):
            texts = (text,)
        case TokenPrompt():
            texts = ()
        case ChatPrompt(messages):
            texts = tuple(message.text for message in messages)
    return sum(len(text.encode()) for text in texts)


def in_wire_words(error: ServingError, request: CodeRequest) -> ServingError:
    """The error with its field, in the message too, as the client's protocol calls it."""
    if error.field is None:
        return error
    first, rest = re.split(r"(?=[.\[])|$", error.field, maxsplit=1)
    name = request.wire_names.get(first, first)
    message = error.message
    if message.startswith(first):
        message = name + message.removeprefix(first)
    return ServingError(error.reason, message, name + rest, error.retry_after_s)


def _check_not_empty(prompt: Prompt) -> None:
    match prompt:
        case FimPrompt(prefix="", suffix=""):
            raise _invalid("prefix", "prefix and suffix are both empty. Send the code around the cursor.")
        case TextPrompt("") | TokenPrompt(()):
            raise _invalid("prompt", "prompt is empty. Send at least one character.")
        case ChatPrompt(()):
            raise _invalid("messages", "messages is empty. Send at least one message of the user.")


def _check_range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _refused(field, value, f"{low} to {high}")


def _refused(field: str, value: float, allowed: str) -> ServingError:
    return _invalid(field, f"{field} is {value}; allowed is {allowed}.")


def _invalid(field: str, message: str) -> ServingError:
    return ServingError(Reason.INVALID_ARGUMENT, message, field)
