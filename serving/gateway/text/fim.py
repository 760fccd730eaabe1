"""FimRenderer: from a place in a file, and other files beside it, to token ids.

CodeGemma's multi-file form (https://ai.google.dev/gemma/docs/codegemma/prompt-structure): each file is its path, its
text and `<|file_separator|>`. Other files have a share of the context of their own, whatever is at the cursor, so that
they are the same tokens from one keystroke to the next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.gateway.request import FimPrompt, Truncation
from serving.gateway.text.context import pack_context
from serving.gateway.text.cut import Kept, beginning, end
from serving.gateway.text.tokenizer import FILE_SEPARATOR, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Tokenizer

FimFormat = Literal["psm", "spm"]
FimMode = Literal["native", "prefix"]

_CONTEXT_FILES = 1 / 2
"""The share of the context that other files have at most."""
_ANSWER = 1 / 8
"""The share that a prompt that is cut leaves for the answer."""
_STEP = 1 / 16
"""A prefix that is too long is cut in such steps of the context."""
_SUFFIX = 1 / 4
"""Of prefix and suffix together, the share of a suffix if both are too long; as in llama.cpp."""
_SENTINELS = 3


@dataclass(frozen=True, slots=True)
class FimIds:
    """The ids of the control tokens around code."""

    prefix: int
    middle: int
    suffix: int
    separator: int


@dataclass(frozen=True, slots=True)
class RenderedFim:
    """A prompt's ids, BOS included, and what is not in them."""

    ids: list[int]
    truncation: Truncation


class FimRenderer:
    """Renders fill-in-the-middle prompts for one model.

    Attributes:
      ids: of the control tokens; None if the vocabulary has none: then the model can only continue the prefix.
    """

    def __init__(self, tokenizer: Tokenizer, fim_format: FimFormat) -> None:
        tokens = [tokenizer.control_id(text) for text in (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FILE_SEPARATOR)]
        known = [token_id for token_id in tokens if token_id is not None]
        self.ids = FimIds(*known) if len(known) == len(tokens) else None
        self._tokenizer = tokenizer
        self._fim_format = fim_format
        self._end_of_file = (self.ids.separator,) if self.ids else tuple(tokenizer.encode("\n"))

    def render(self, prompt: FimPrompt, limit: int) -> RenderedFim:
        """The ids of a prompt.

        Of one that may be cut they are fewer than `limit`, and leave room for an answer. Of another that is longer,
        rendering stops at the part with which there are more.
        """
        tokenizer = self._tokenizer
        context = pack_context(prompt.context_files, int(limit * _CONTEXT_FILES), tokenizer, self._end_of_file)
        ids = [tokenizer.bos_id]
        for file in context.files:
            ids += file
        if prompt.context_files and prompt.path:
            ids += tokenizer.encode(f"{prompt.path}\n", limit)
        prefix, suffix = self._code(prompt, limit, limit - int(limit * _ANSWER) - len(ids) - _SENTINELS)
        for part in self._around(prefix.ids, suffix.ids):
            ids += part
            if len(ids) > limit:
                break
        truncation = Truncation(prefix.characters_left_out, suffix.characters_left_out, context.lines_left_out)
        return RenderedFim(ids, truncation)

    def _code(self, prompt: FimPrompt, limit: int, room: int) -> tuple[Kept, Kept]:
        """Prefix and suffix; where they may be cut, within the room for both."""
        tokenizer = self._tokenizer
        if not prompt.may_be_cut:
            prefix = tokenizer.encode(prompt.prefix, limit)
            return Kept(prefix), Kept(tokenizer.encode(prompt.suffix, limit) if len(prefix) <= limit else ())
        ids = tokenizer.encode(prompt.suffix, max(room, 0)) if self.ids else []
        step = max(int(limit * _STEP), 1)
        kept = end(prompt.prefix, room - min(len(ids), int(room * _SUFFIX)), step, tokenizer)
        return kept, beginning(prompt.suffix, ids, room - len(kept.ids), tokenizer)

    def _around(self, prefix: Sequence[int], suffix: Sequence[int]) -> Iterator[Sequence[int]]:
        if self.ids is None:
            yield prefix
            return
        before, after = (self.ids.prefix, *prefix), (self.ids.suffix, *suffix)
        yield from (before, after) if self._fim_format == "psm" else (after, before)
        yield (self.ids.middle,)
