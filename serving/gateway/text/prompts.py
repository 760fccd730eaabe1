"""PromptRenderer: from a prompt in text to the token ids that a model was trained to see.

BOS stands once, at the front; nothing is put around sentinels; text from structured fields is encoded so that it cannot
become a control token. Code that is filled in is rendered by `fim.py`.
"""

from collections.abc import Iterable, Iterator, Sequence

from serving.config import ChatFormat
from serving.errors import FieldError, Reason
from serving.gateway.request import (
    ChatPrompt,
    FimPrompt,
    Message,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from serving.gateway.shown import shown
from serving.gateway.text.conversation_formats import ConversationFormat, conversation_format
from serving.gateway.text.fim import FimFormat, FimMode, FimRenderer
from serving.gateway.text.fim_markers import marked_fim_prompt
from serving.gateway.text.tokenizer import BOS, Tokenizer


class PromptRenderer:
    """Renders every shape of prompt for one model.

    Attributes:
      fim: renders those that fill in code.
      fim_mode: "native" if the vocabulary has the FIM tokens; "prefix" if the model can only continue the prefix.
      serves_chat: whether conversations can be written; turns take control tokens that a vocabulary may lack.
    """

    def __init__(self, tokenizer: Tokenizer, fim_format: FimFormat, chat_format: ChatFormat = "turns") -> None:
        self._tokenizer = tokenizer
        self.fim = FimRenderer(tokenizer, fim_format)
        self.fim_mode: FimMode = "native" if self.fim.ids else "prefix"
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
                return self.fim.render(infill, limit).ids
            case TextPrompt(text):
                return self._joined(self._raw(text, limit), limit)
            case TokenPrompt(ids):
                return self._checked(ids)
            case ChatPrompt(messages):
                return self._joined(self._conversations.token_ids(messages, limit), limit)

    def conversation_text(self, messages: Sequence[Message]) -> str:
        """A conversation as a raw prompt, without BOS. Control tokens that a message names are read as such in it."""
        return self._conversations.text(messages)

    def stops(self, prompt: Prompt) -> tuple[str, ...]:
        """Texts at which an answer to a prompt ends, whatever the client asks for."""
        return self._conversations.stops if isinstance(prompt, ChatPrompt) else ()

    def infill(self, prompt: Prompt) -> FimPrompt | None:
        """The place to fill in, if a prompt describes one in fields or, to a model without FIM tokens, by these."""
        if isinstance(prompt, TextPrompt) and self.fim.ids is None:
            return marked_fim_prompt(prompt.text)
        return prompt if isinstance(prompt, FimPrompt) else None

    def fills_in(self, prompt: Prompt, ids: Sequence[int]) -> bool:
        """Whether a prompt, rendered to `ids`, asks to fill in code: also a raw one that a client has formatted."""
        return self.infill(prompt) is not None or (self.fim.ids is not None and self.fim.ids.middle in ids)

    @property
    def _conversations(self) -> ConversationFormat:
        assert self._conversation_format is not None, "a model that cannot chat is not given the chat role"
        return self._conversation_format

    def writes_bos(self, prompt: Prompt) -> bool:
        """Whether a raw text itself writes the BOS with which its ids begin."""
        return self.fim.ids is not None and isinstance(prompt, TextPrompt) and prompt.text.startswith(BOS)

    def _joined(self, parts: Iterable[Sequence[int]], limit: int) -> list[int]:
        ids = [self._tokenizer.bos_id]
        for part in parts:
            ids += part
            if len(ids) > limit:
                break
        return ids

    def _raw(self, text: str, limit: int) -> Iterator[Sequence[int]]:
        tokenizer, bos = self._tokenizer, self._tokenizer.bos_id
        parts = tokenizer.encode_with_sentinels(text, limit) if self.fim.ids else (tokenizer.encode(text, limit),)
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
