"""AnswerText: the visible text of one generation, from its tokens, as they come."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from serving.gateway.request import TokenLogprob
from serving.gateway.text.detokenizer import Detokenizer
from serving.gateway.text.predict_time import PredictTime
from serving.gateway.text.token_logprobs import token_logprob
from serving.gateway.text.tokenizer import Tokenizer
from sharding.step import Token


class TextFilter(Protocol):
    """Lets a growing text through, up to some point.

    Attributes:
      stopped: the point is reached.
      skipped: characters that were left out before what is shown.
      added: characters shown that the text did not have, less those of the text that were left out between.
    """

    @property
    def stopped(self) -> bool: ...

    @property
    def skipped(self) -> int: ...

    @property
    def added(self) -> int: ...

    def feed(self, text: str) -> str:
        """What can be shown after the text has grown by this much."""
        ...

    def flush(self, *, cut: bool = False) -> str:
        """What was held back, now that the text grows no more: it is complete, or was cut off by time or length."""
        ...


class AnswerText:
    """Turns tokens into text and log probabilities that can be shown.

    A token's log probability is shown when the whole of its text is, and never if none of it is.

    Attributes:
      stopped: a filter or the time limit ended the text; no more tokens are wanted.
      is_late: it was the time limit.
      tokens: how many tokens were taken in.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        filters: Sequence[TextFilter],
        time_limit: PredictTime | None = None,
        *,
        offset: int = 0,
    ) -> None:
        """Before the first token.

        Args:
          tokenizer: of the model.
          filters: what the text goes through, in this order.
          time_limit: ends the text.
          offset: characters that are shown before the text.
        """
        self.stopped = False
        self.is_late = False
        self.tokens = 0
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._filters = tuple(filters)
        self._time_limit = time_limit
        self._offset = offset
        self._decoded = 0  # characters of text that the tokens have made
        self._shown = 0  # of those, characters shown
        self._unfinished: list[tuple[int, TokenLogprob]] = []  # (start, ...) of the tokens of an unfinished character
        self._waiting: deque[tuple[int, int, TokenLogprob]] = deque()  # (start, end, ...) of tokens not shown yet

    def feed(self, tokens: Iterable[Token]) -> tuple[str, tuple[TokenLogprob, ...]]:
        """What can be shown after these tokens; those after a stop are left alone."""
        shown = ""
        for token in tokens:
            self.tokens += 1
            start, text = self._decoded, self._detokenizer.feed(token.id)
            self._decoded += len(text)
            if token.logprob is not None:
                self._unfinished.append((start, self._logprob(token, start)))
            if self._unfinished and not self._detokenizer.mid_character:
                self._finish_tokens()
            late = self._time_limit is not None and self._time_limit.is_over(text)
            shown += self._filter(text, final=late, cut=late)
            self.is_late = late and not self.stopped
            self.stopped |= late
            if self.stopped:
                break
        return shown, self._shown_logprobs(final=self.stopped)

    def flush(self, *, cut: bool = False, end: Token | None = None) -> tuple[str, tuple[TokenLogprob, ...]]:
        """What is left to show at the end of the generation.

        Args:
          cut: the model had not ended it.
          end: the token with which it did, to be shown without text.
        """
        text = self._detokenizer.flush()
        self._decoded += len(text)
        if end is not None:
            self._unfinished.append((self._decoded, self._logprob(end, self._decoded)))
        self._finish_tokens()
        shown = self._filter(text, final=True, cut=cut)
        return shown, self._shown_logprobs(final=True)

    def _filter(self, text: str, *, final: bool, cut: bool = False) -> str:
        for text_filter in self._filters:
            text = text_filter.feed(text)
            if (final or self.stopped) and not text_filter.stopped:
                text += text_filter.flush(cut=cut and not self.stopped)
            self.stopped |= text_filter.stopped
        self._shown += len(text)
        return text

    def _finish_tokens(self) -> None:
        self._waiting.extend((start, self._decoded, logprob) for start, logprob in self._unfinished)
        self._unfinished.clear()

    def _shown_logprobs(self, *, final: bool) -> tuple[TokenLogprob, ...]:
        if not self._waiting:
            return ()
        first = sum(text_filter.skipped for text_filter in self._filters)
        beyond = first + self._shown - sum(text_filter.added for text_filter in self._filters)
        shown: list[TokenLogprob] = []
        while self._waiting:
            start, end, logprob = self._waiting[0]
            if end > beyond and not (final and start < beyond):
                break
            if end > first or start >= first:
                offset = self._offset + max(start - first, 0)
                shown.append(replace(logprob, offset=offset) if first else logprob)
            self._waiting.popleft()
        return tuple(shown)

    def _logprob(self, token: Token, start: int) -> TokenLogprob:
        return token_logprob(self._tokenizer, token, self._offset + start)
