"""Checks of a request's fields: what cannot be answered is refused with the field, its value and the remedy."""

import math

from serving.errors import FieldError, Reason
from serving.gateway.request import ChatPrompt, CodeRequest, FimPrompt, Prompt, TextPrompt, TokenPrompt
from serving.gateway.shown import shown
from sharding.step import MAX_BIASES, MAX_LOGPROBS

PROMPT_FIELDS = ("prefix", "messages", "prompt")
"""What `prompt_field` says."""
MAX_MESSAGES = 4096
MAX_PATH_CHARACTERS = 1024
MAX_CONTEXT_FILES = 1024
MAX_STOPS = 64
MAX_STOP_CHARACTERS = 1024
MAX_BIAS_CHARACTERS = 4096
"""Of all texts with a bias together; each prompt of a request has them tokenized."""
MAX_SESSION_ID_CHARACTERS = 1024
MAX_CHOICES = 8
MAX_TEMPERATURE = 2.0
MAX_PENALTY = 100.0
LEAST_REPETITION_PENALTY = 0.01
MAX_ANSWER_LOGPROBS = 200_000
_SHORT = 1000
"""Characters, or token ids: 50 µs."""
_FEW = 16
"""Messages, each of which takes some time for itself."""


def check_sizes(request: CodeRequest) -> None:
    """Refuses sizes that no later check could handle: call it first.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    _check_size("session_id", len(request.session_id), MAX_SESSION_ID_CHARACTERS, "characters")
    _check_size("stop", len(request.stop), MAX_STOPS, "texts")
    _check_size("stop_ids", len(request.stop_ids), MAX_STOPS, "token ids")
    for position, stop in enumerate(request.stop):
        _check_size("stop", len(stop), MAX_STOP_CHARACTERS, "characters", f"[{position}]")
    _check_size("logit_bias", len(request.logit_bias), MAX_BIASES, "tokens")
    _check_size("logit_bias", _bias_characters(request), MAX_BIAS_CHARACTERS, "characters in texts")
    match request.prompt:
        case ChatPrompt(messages):
            _check_size("messages", len(messages), MAX_MESSAGES, "messages")
        case FimPrompt(path=path, context_files=files):
            _check_size("path", len(path), MAX_PATH_CHARACTERS, "characters")
            _check_size("context_files", len(files), MAX_CONTEXT_FILES, "files")
            for position, file in enumerate(files):
                if not 0 <= file.score <= 1:  # nor NaN
                    place = f"[{position}].score"
                    raise _invalid("context_files", f"is {shown(file.score)}; allowed is 0 to 1.", place)


def check_request(request: CodeRequest) -> None:
    """Refuses fields that are out of range.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    sampling = request.sampling
    if not 0 <= sampling.temperature <= MAX_TEMPERATURE:
        raise _refused("temperature", sampling.temperature, f"0 to {MAX_TEMPERATURE:g}")
    if not sampling.top_p >= 0:  # nor NaN
        raise _refused("top_p", sampling.top_p, "0 to 1")
    if sampling.top_k < 0:
        raise _refused("top_k", sampling.top_k, "1 or more, or 0 for all tokens")
    if not sampling.min_p >= 0:
        raise _refused("min_p", sampling.min_p, "0 to 1")
    _check_range("presence_penalty", sampling.presence_penalty, -MAX_PENALTY, MAX_PENALTY)
    _check_range("frequency_penalty", sampling.frequency_penalty, -MAX_PENALTY, MAX_PENALTY)
    _check_range("repetition_penalty", sampling.repetition_penalty, LEAST_REPETITION_PENALTY, MAX_PENALTY)
    for token, bias in request.logit_bias:
        if not -math.inf <= bias <= math.inf:  # NaN
            raise _invalid("logit_bias", "is not a number. Send one, or leave the token out.", f"[{shown(token)}]")
    if sampling.logprobs is not None:
        _check_range("logprobs", sampling.logprobs, 0, MAX_LOGPROBS)
    elif request.prompt_logprobs:
        raise _invalid("prompt_logprobs", "is true, and logprobs is not set. Set that, or leave this out.")
    if request.max_tokens is not None and request.max_tokens < 0:
        raise _refused("max_tokens", request.max_tokens, "0 or more")
    _check_range("choices", request.choices, 1, MAX_CHOICES)
    if request.timeout_s is not None and not 0 < request.timeout_s < math.inf:
        raise _refused("timeout_s", request.timeout_s, "above 0")
    check_not_empty(request.prompt)


def check_not_empty(prompt: Prompt) -> None:
    """Refuses an empty prompt.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    match prompt:
        case FimPrompt(prefix="", suffix="", context_files=()):
            raise _invalid("prefix", "is empty, and so is suffix. Send the code around the cursor.")
        case TextPrompt(text=text) | TokenPrompt(ids=text) if not text:
            raise _invalid("prompt", "is empty. Send at least one character.")
        case ChatPrompt(()):
            raise _invalid("messages", "is empty. Send at least one message of the user.")


def max_tokens(request: CodeRequest, default: int, prompt_tokens: int, room: int) -> int:
    """Tokens that each choice may have.

    Args:
      request: in which `check_request` found no fault.
      default: of a prompt that is no conversation, where the request does not say.
      prompt_tokens: of the prompt.
      room: that it leaves in the context.

    Raises:
      ServingError: INVALID_ARGUMENT, for the log probabilities of so many. A whole answer is written in one piece, and
        no other request is served meanwhile.
    """
    tokens = room
    if request.max_tokens is not None:
        tokens = min(request.max_tokens, room)
    elif not isinstance(request.prompt, ChatPrompt):
        tokens = min(default, room)
    if (logprobs := request.sampling.logprobs) is None:
        return tokens
    scored = prompt_tokens if request.prompt_logprobs else 0
    most = MAX_ANSWER_LOGPROBS // (request.choices * (logprobs + 1)) - scored
    if most < (1 if request.max_tokens is None else tokens):
        raise _invalid(
            "logprobs",
            f"is {logprobs}, which for {request.choices} choices of {scored + tokens} tokens may be more than "
            f"{MAX_ANSWER_LOGPROBS} log probabilities, the limit here. Ask for fewer, or for fewer tokens.",
        )
    return min(tokens, most)


def answer_logprobs(request: CodeRequest, prompt_tokens: int, tokens: int) -> int:
    """Log probabilities that the answer to a prompt may have, alternatives included.

    Args:
      request: in which `check_request` found no fault.
      prompt_tokens: of the prompt.
      tokens: `max_tokens`.
    """
    if request.sampling.logprobs is None:
        return 0
    scored = prompt_tokens if request.prompt_logprobs else 0
    return request.choices * (request.sampling.logprobs + 1) * (scored + tokens)


def check_answer_logprobs(request: CodeRequest, count: int, place: str) -> None:
    """Refuses several prompts whose answers together may have more log probabilities than one answer.

    Args:
      request: the last of them.
      count: of all of them.
      place: of the last among them: `[3]`.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if count > MAX_ANSWER_LOGPROBS:
        raise _invalid(
            "logprobs",
            f"is {request.sampling.logprobs}, which for the prompts up to prompt{place} may be more than "
            f"{MAX_ANSWER_LOGPROBS} log probabilities, the limit here. Send fewer prompts at once, or ask for fewer "
            "tokens.",
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


def is_short(request: CodeRequest) -> bool:
    """Whether to make token ids of a request's prompt and biases takes no longer than to hand them to a thread."""
    left = _SHORT - _bias_characters(request)
    match request.prompt:
        case FimPrompt(prefix=prefix, suffix=suffix, context_files=()):
            return len(prefix) + len(suffix) <= left
        case TextPrompt(text=text) | TokenPrompt(ids=text):
            return len(text) <= left
        case ChatPrompt(messages):
            return len(messages) <= _FEW and sum(len(message.text) for message in messages) <= left
        case _:
            return False


def fewest_tokens(prompt: Prompt, longest_piece: int) -> int:
    """A lower bound of the tokens of a prompt, without tokenizing it.

    Args:
      prompt: the prompt.
      longest_piece: UTF-8 bytes of the longest token.
    """
    match prompt:
        case FimPrompt():
            texts: tuple[str, ...] = () if prompt.may_be_cut else (prompt.prefix, prompt.suffix)
        case TextPrompt(text):
            texts = (text,)
        case TokenPrompt(ids):
            return len(ids)
        case ChatPrompt(messages):
            texts = tuple(message.text for message in messages)
    return sum(len(text.encode()) for text in texts) // longest_piece


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise _refused(field, value, f"{low:g} to {high:g}")


def _check_size(field: str, size: int, limit: int, unit: str, place: str = "") -> None:
    if size > limit:
        raise _invalid(field, f"has {size} {unit}; at most {limit} are allowed.", place)


def _bias_characters(request: CodeRequest) -> int:
    return sum(len(token) for token, _ in request.logit_bias if isinstance(token, str))


def _refused(field: str, value: float, allowed: str) -> FieldError:
    return _invalid(field, f"is {shown(value)}; allowed is {allowed}.")


def _invalid(field: str, fault: str, place: str = "") -> FieldError:
    return FieldError(Reason.INVALID_ARGUMENT, field, fault, place)
