"""PromptRenderer: from a prompt in text to the token ids that a model was trained to see.

Format: CodeGemma's prompt structure (https://ai.google.dev/gemma/docs/codegemma/prompt-structure). BOS stands once, at
the front; nothing is put around sentinels; text from structured fields is encoded so that it cannot become a control
token.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from serving.config import ChatFormat
from serving.errors import FieldError, Reason
from serving.gateway.request import (
    ChatPrompt,
    ContextFile,
    FimPrompt,
    Message,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.shown import shown
from serving.gateway.text.conversation_formats import ConversationFormat, conversation_format
from serving.gateway.text.fim_markers import marked_fim_prompt
from serving.gateway.text.tokenizer import FILE_SEPARATOR, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Tokenizer

FimMode = Literal["native", "prefix"]


@dataclass(frozen=True, slots=True)
class _FimIds:
    prefix: int
    middle: int
    suffix: int
    separator: int


class PromptRenderer:
    """Renders every shape of prompt for one model.

    Attributes:
      fim_mode: "native" if the vocabulary has the FIM tokens; "prefix" if the model can only continue the prefix.
      serves_chat: whether conversations can be written; turns take control tokens that a vocabulary may lack.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        fim_format: Literal["psm", "spm"],
        chat_format: ChatFormat = "turns",
    ) -> None:
        self._tokenizer = tokenizer
        self._fim_format = fim_format
        self._fim = _fim_ids(tokenizer)
        self.fim_mode: FimMode = "native" if self._fim else "prefix"
        self._conversation_format = conversation_format(tokenizer, chat_format)
        self.serves_chat = self._conversation_format is not None

    def render(self, prompt: Prompt, limit: int) -> list[int]:
        """The token ids of a prompt, BOS included.

        Of a prompt that is longer, rendering stops at the part (a file, a turn, a text between sentinels) with which
        there are more than `limit`; those come back, for the error to say.

        Raises:
          ServingError: a conversation without the turns that the model knows, or ids out of the vocabulary.
        """
        match self.infill(prompt) or prompt:
            case FimPrompt() as infill:
                return self._joined(self._fim_parts(infill, limit), limit)
            case TextPrompt(text):
                return self._joined(self._raw(text, limit), limit)
            case TokenPrompt(ids):
                return self._checked(ids)
            case ChatPrompt(messages):
                return self._joined(self._conversations.token_ids(messages, limit), limit)

    def conversation_text(self, messages: Sequence[Message]) -> str:
        """A conversation as a raw prompt, without BOS."""
        return self._conversations.text(messages)

    def stops(self, prompt: Prompt) -> tuple[str, ...]:
        """Texts at which an answer to a prompt ends, whatever the client asks for."""
        return self._conversations.stops if isinstance(prompt, ChatPrompt) else ()

    def infill(self, prompt: Prompt) -> FimPrompt | None:
        """The place to fill in, if a prompt describes one in fields or, to a model without FIM tokens, by these."""
        if isinstance(prompt, TextPrompt) and self._fim is None:
            return marked_fim_prompt(prompt.text)
        return prompt if isinstance(prompt, FimPrompt) else None

    def fills_in(self, prompt: Prompt, ids: Sequence[int]) -> bool:
        """Whether a prompt, rendered to `ids`, asks to fill in code: also a raw one that a client has formatted."""
        return self.infill(prompt) is not None or (self._fim is not None and self._fim.middle in ids)

    @property
    def _conversations(self) -> ConversationFormat:
        assert self._conversation_format is not None, "a model that cannot chat is not given the chat role"
        return self._conversation_format

    def _joined(self, parts: Iterable[Sequence[int]], limit: int) -> list[int]:
        ids = [self._tokenizer.bos_id]
        for part in parts:
            ids += part
            if len(ids) > limit:
                break
        return ids

    def _fim_parts(self, prompt: FimPrompt, limit: int) -> Iterator[Sequence[int]]:
        return self._native_fim(prompt, self._fim, limit) if self._fim else self._prefix_fim(prompt, limit)

    def _native_fim(self, prompt: FimPrompt, fim: _FimIds, limit: int) -> Iterator[Sequence[int]]:
        encode = partial(self._tokenizer.encode, limit=limit)
        for file in prompt.context_files:
            yield [*encode(file_text(file)), fim.separator]
        if prompt.context_files and prompt.path:
            yield encode(f"{prompt.path}\n")
        before, after = (fim.prefix, prompt.prefix), (fim.suffix, prompt.suffix)
        for sentinel, text in (before, after) if self._fim_format == "psm" else (after, before):
            yield [sentinel, *encode(text)]
        yield [fim.middle]

    def _prefix_fim(self, prompt: FimPrompt, limit: int) -> Iterator[Sequence[int]]:
        files = "".join(f"{file_text(file)}\n" for file in prompt.context_files)
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


def file_text(file: ContextFile) -> str:
    """Another file as the model sees it, without the separator."""
    return f"{file.path}\n{file.text}"


def _fim_ids(tokenizer: Tokenizer) -> _FimIds | None:
    """None unless the vocabulary has them all."""
    ids = [tokenizer.control_id(text) for text in (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FILE_SEPARATOR)]
    known = [token_id for token_id in ids if token_id is not None]
    return _FimIds(*known) if len(known) == len(ids) else None
