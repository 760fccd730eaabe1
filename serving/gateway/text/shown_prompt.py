"""ShownPrompt: what of a prompt is shown before its answer: its text, the log probabilities of its tokens, or both."""

from collections.abc import Sequence

from serving.gateway.request import TokenLogprob
from serving.gateway.text.detokenizer import Detokenizer
from serving.gateway.text.token_logprobs import token_logprob
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import Token


class ShownPrompt:
    """Takes the tokens of a prompt from those that a generation gives, as they come.

    Attributes:
      text: shown of the prompt, in all.
      is_scored: whether its tokens come, with their log probabilities.
    """

    is_scored = False

    def __init__(self, text: str = "") -> None:
        """A prompt of which only this text is shown, whose tokens do not come."""
        self.text = text
        self._shown = 0  # characters

    def feed(self, tokens: Sequence[Token]) -> tuple[str, tuple[TokenLogprob, ...], Sequence[Token]]:
        """What can be shown of the prompt once these tokens have come, and those that are not the prompt's."""
        return self._text_up_to(len(self.text)), (), tokens

    def _text_up_to(self, end: int) -> str:
        start, self._shown = self._shown, end
        return self.text[start:end]


class ScoredPrompt(ShownPrompt):
    """A prompt whose tokens come with their log probabilities, all but the first, which has none."""

    is_scored = True

    def __init__(
        self, tokenizer: Tokenizer, ids: Sequence[int], text: str, *, shows_bos: bool, shows_controls: bool
    ) -> None:
        """Before any token has come.

        Args:
          tokenizer: of the model.
          ids: the prompt's.
          text: shown of it, with the tokens; empty: none is.
          shows_bos: whether the first token is one of those shown; otherwise it is the BOS before the text.
          shows_controls: whether control tokens are written in the text.
        """
        super().__init__(text)
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._shows_controls = shows_controls
        self._to_come = len(ids) - 1
        self._first = [Token(ids[0])] if shows_bos else []
        self._has_first = False
        self._decoded = 0  # characters of the text that the tokens have made

    def feed(self, tokens: Sequence[Token]) -> tuple[str, tuple[TokenLogprob, ...], Sequence[Token]]:
        """As `ShownPrompt.feed`."""
        mine, others = tokens[: self._to_come], tokens[self._to_come :]
        self._to_come -= len(mine)
        shown = tuple(map(self._show, (*self._first, *mine)))
        self._first = []
        return self._text_up_to(self._decoded if self._to_come else len(self.text)), shown, others

    def _show(self, token: Token) -> TokenLogprob:
        if not self._has_first:
            self._has_first, token = True, Token(token.id)
        offset = min(self._decoded, len(self.text))
        text = self._tokenizer.control_text(token.id) if self._shows_controls else None
        self._decoded += len(self._detokenizer.feed(token.id) if text is None else text)
        return token_logprob(self._tokenizer, token, offset)
