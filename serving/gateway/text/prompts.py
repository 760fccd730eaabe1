"""PromptRenderer: from a prompt in text to the token ids that a model was trained to see.

Formats: CodeGemma's prompt structure (https://ai.google.dev/gemma/docs/codegemma/prompt-structure), Gemma's
(https://ai.google.dev/gemma/docs/core/prompt-structure). BOS stands once, at the front; nothing is put around
sentinels; text from structured fields is encoded so that it cannot become a control token.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from serving.errors import FieldError, Reason
from serving.gateway.request import (
    ChatPrompt,
    ContextFile,
    FimPrompt,
    Message,
    Prompt,
    Speaker,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.shown import shown
from serving.gateway.text.tokenizer import (
    END_OF_TURN,
    FILE_SEPARATOR,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    START_OF_TURN,
    Tokenizer,
)

FimMode = Literal["native", "prefix"]


@dataclass(frozen=True, slots=True)
class _FimIds:
    prefix: int
    middle: int
    suffix: int
    separator: int


@dataclass(frozen=True, slots=True)
class _TurnIds:
    start: int
    end: int


class PromptRenderer:
    """Renders every shape of prompt for one model.

    Attributes:
      fim_mode: "native" if the vocabulary has the FIM tokens; "prefix" if the model can only continue the prefix.
      serves_chat: whether the vocabulary has the turn tokens.
    """

    def __init__(self, tokenizer: Tokenizer, fim_format: Literal["psm", "spm"]) -> None:
        self._tokenizer = tokenizer
        self._fim_format = fim_format
        self._fim = _lookup(tokenizer, _FimIds, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FILE_SEPARATOR)
        self._turns = _lookup(tokenizer, _TurnIds, START_OF_TURN, END_OF_TURN)
        self.fim_mode: FimMode = "native" if self._fim else "prefix"
        self.serves_chat = self._turns is not None

    def render(self, prompt: Prompt, limit: int) -> list[int]:
        """The token ids of a prompt, BOS included.

        Of a prompt that is longer, rendering stops at the part (a file, a turn, a text between sentinels) with which
        there are more than `limit`; those come back, for the error to say.

        Raises:
          ServingError: a conversation without the turns that the model knows, or ids out of the vocabulary.
        """
        match prompt:
            case FimPrompt() if self._fim:
                return self._joined(self._native_fim(prompt, self._fim, limit), limit)
            case FimPrompt():
                return self._joined(self._prefix_fim(prompt, limit), limit)
            case TextPrompt(text):
                return self._joined(self._raw(text, limit), limit)
            case TokenPrompt(ids):
                return self._checked(ids)
            case ChatPrompt(messages):
                return self._joined(self._chat(messages, limit), limit)

    def fills_in(self, prompt: Prompt, ids: Sequence[int]) -> bool:
        """Whether a prompt, rendered to `ids`, asks to fill in code: also a raw one that a client has formatted."""
        return isinstance(prompt, FimPrompt) or (self._fim is not None and self._fim.middle in ids)

    def _joined(self, parts: Iterable[Sequence[int]], limit: int) -> list[int]:
        ids = [self._tokenizer.bos_id]
        for part in parts:
            ids += part
            if len(ids) > limit:
                break
        return ids

    def _native_fim(self, prompt: FimPrompt, fim: _FimIds, limit: int) -> Iterator[Sequence[int]]:
        encode = partial(self._tokenizer.encode, limit=limit)
        for file in prompt.context_files:
            yield [*encode(_file_text(file)), fim.separator]
        if prompt.context_files and prompt.path:
            yield encode(f"{prompt.path}\n")
        before, after = (fim.prefix, prompt.prefix), (fim.suffix, prompt.suffix)
        for sentinel, text in (before, after) if self._fim_format == "psm" else (after, before):
            yield [sentinel, *encode(text)]
        yield [fim.middle]

    def _prefix_fim(self, prompt: FimPrompt, limit: int) -> Iterator[Sequence[int]]:
        files = "".join(f"{_file_text(file)}\n" for file in prompt.context_files)
        path = f"{prompt.path}\n" if prompt.context_files and prompt.path else ""
        yield self._tokenizer.encode(files + path + prompt.prefix, limit)

    def _raw(self, text: str, limit: int) -> Iterator[Sequence[int]]:
        tokenizer, bos = self._tokenizer, self._tokenizer.bos_id
        parts = tokenizer.encode_with_sentinels(text, limit) if self._fim else (tokenizer.encode(text, limit),)
        for part in parts:
            yield [token_id for token_id in part if token_id != bos]

    def _checked(self, ids: Sequence[int]) -> list[int]:
        vocab_size = self._tokenizer.vocab_size
        for position, token_id in enumerate(ids):
            if not 0 <= token_id < vocab_size:
                raise FieldError(
                    Reason.INVALID_ARGUMENT,
                    "prompt",
                    f"is {shown(token_id)}; this model's token ids are 0 to {vocab_size - 1}.",
                    f"[{position}]",
                )
        return list(ids)

    def _chat(self, messages: Sequence[Message], limit: int) -> Iterator[Sequence[int]]:
        assert self._turns is not None, "a model without turn tokens is not given the chat role"
        encode, newline = partial(self._tokenizer.encode, limit=limit), self._tokenizer.encode("\n")
        for speaker, text in turns(messages):
            yield [self._turns.start, *encode(f"{speaker}\n{text}"), self._turns.end, *newline]
        yield [self._turns.start, *encode(f"{Speaker.MODEL}\n")]


def turns(messages: Sequence[Message]) -> Iterator[tuple[Speaker, str]]:
    """The turns of Gemma's chat template: the user's and the model's in alternation, the user's first and last.

    Gemma has no turn for a system text: it goes before the first user's text, with a blank line between.

    Raises:
      ServingError: names the message that is out of turn.
    """
    system: list[str] = []
    expected = Speaker.USER
    for index, message in enumerate(messages):
        if message.speaker is Speaker.SYSTEM:
            if index != len(system):
                raise FieldError(
                    Reason.INVALID_ARGUMENT,
                    "messages",
                    "is that of a system message, and these go before all others.",
                    f"[{index}].role",
                )
            system.append(message.text.strip())
            continue
        if message.speaker is not expected:
            raise FieldError(
                Reason.INVALID_ARGUMENT,
                "messages",
                f"is that of the {message.speaker}, where a message of the {expected} is due. The user and the model "
                "alternate, the user first.",
                f"[{index}].role",
            )
        text = message.text.strip()
        yield message.speaker, "\n\n".join([*filter(None, system), text]) if index == len(system) else text
        expected = Speaker.MODEL if expected is Speaker.USER else Speaker.USER
    if expected is Speaker.USER:
        raise FieldError(
            Reason.INVALID_ARGUMENT, "messages", "has no message of the user at its end. Add the one to be answered."
        )


def _file_text(file: ContextFile) -> str:
    return f"{file.path}\n{file.text}"


def _lookup[T](tokenizer: Tokenizer, kind: type[T], *texts: str) -> T | None:
    """The ids of control tokens; None unless the vocabulary has them all."""
    ids = [tokenizer.control_id(text) for text in texts]
    return None if None in ids else kind(*ids)
