"""Checks of a request's fields: what cannot be answered is refused with the field, its value and the remedy."""

import math
import re

from serving.errors import Reason, ServingError
from serving.gateway.request import ChatPrompt, CodeRequest, FimPrompt, Prompt, TextPrompt, TokenPrompt
from serving.gateway.shown import shown
from sharding.step import MAX_LOGPROBS

MAX_MESSAGES = 4096
MAX_CONTEXT_FILES = 1024
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1024
MAX_SESSION_ID_CHARACTERS = 1024
MAX_CHOICES = 8
MAX_SEED = 2**32 - 1
MAX_TEMPERATURE = 2.0
MAX_ANSWER_LOGPROBS = 200_000


def check_sizes(request: CodeRequest) -> None:
    """Refuses more than anything here looks at: to be called before all else.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    _check_size("session_id", len(request.session_id), MAX_SESSION_ID_CHARACTERS, "characters")
    _check_size("stop", len(request.stop), MAX_STOPS, "texts")
    for position, stop in enumerate(request.stop):
        _check_size(f"stop[{position}]", len(stop), MAX_STOP_CHARACTERS, "characters")
    match request.prompt:
        case ChatPrompt(messages):
            _check_size("messages", len(messages), MAX_MESSAGES, "messages")
        case FimPrompt(context_files=files):
            _check_size("context_files", len(files), MAX_CONTEXT_FILES, "files")


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
    if sampling.logprobs is not None:
        _check_answer(request, sampling.logprobs)
    if request.timeout_s is not None and not 0 < request.timeout_s < math.inf:
        raise _refused("timeout_s", request.timeout_s, "above 0")
    for position, stop in enumerate(request.stop):
        if not stop:
            raise _invalid(f"stop[{position}]", f"stop[{position}] is empty. Leave it out.")
    _check_not_empty(request.prompt)


def _check_answer(request: CodeRequest, logprobs: int) -> None:
    """A whole answer is written in one piece, and nobody else is served meanwhile."""
    most = request.choices * (request.max_tokens or 0) * (logprobs + 1)
    if most > MAX_ANSWER_LOGPROBS:
        raise _invalid(
            "logprobs",
            f"logprobs is {logprobs}, which for {request.choices} choices of {request.max_tokens} tokens may be {most} "
            f"log probabilities; at most {MAX_ANSWER_LOGPROBS} are allowed. Ask for fewer, or for fewer tokens.",
        )


def prompt_field(prompt: Prompt) -> str:
    """The field that a prompt's text is in."""
    match prompt:
        case FimPrompt():
            return "prefix"
        case ChatPrompt():
            return "messages"
        case _:
            return "prompt"


def fewest_tokens(prompt: Prompt, longest_piece: int) -> int:
    """Tokens that a prompt has at least, told without tokenizing it.

    Args:
      prompt: the prompt.
      longest_piece: UTF-8 bytes of the longest token.
    """
    match prompt:
        case FimPrompt():
            files = (text for file in prompt.context_files for text in (file.path, file.text))
            texts: tuple[str, ...] = (prompt.prefix, prompt.suffix, prompt.path, *files)
        case TextPrompt(text):
            texts = (text,)
        case TokenPrompt(ids):
            return len(ids)
        case ChatPrompt(messages):
            texts = tuple(message.text for message in messages)
    return sum(len(text.encode()) for text in texts) // longest_piece


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
        case TextPrompt(text=text) | TokenPrompt(ids=text) if not text:
            raise _invalid("prompt", "prompt is empty. Send at least one character.")
        case ChatPrompt(()):
            raise _invalid("messages", "messages is empty. Send at least one message of the user.")


def _check_range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _refused(field, value, f"{low} to {high}")


def _check_size(field: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        raise _invalid(field, f"{field} has {size} {unit}; at most {limit} are allowed.")


def _refused(field: str, value: float, allowed: str) -> ServingError:
    return _invalid(field, f"{field} is {shown(value)}; allowed is {allowed}.")


def _invalid(field: str, message: str) -> ServingError:
    return ServingError(Reason.INVALID_ARGUMENT, message, field)
