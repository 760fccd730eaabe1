"""FimRenderer: from a place in a file, and other files beside it, to token ids.

CodeGemma's multi-file form (https://ai.google.dev/gemma/docs/codegemma/prompt-structure): each file is its path, its
text and `<|file_separator|>`. Other files have a share of the context of their own, whatever is at the cursor, so that
they are the same tokens from one keystroke to the next; code that may not be cut goes before them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
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
        path = tokenizer.encode(f"{prompt.path}\n", limit) if prompt.context_files and prompt.path else []
        room = limit - int(limit * _ANSWER) - 1 - len(path) - _SENTINELS
        whole = None if prompt.may_be_cut else self._whole_code(prompt, limit)
        share = int(limit * _CONTEXT_FILES)
        if whole:
            share = min(share, room - sum(len(part.ids) for part in whole))
        context = pack_context(prompt.context_files, share, tokenizer, self._end_of_file)
        ids = [tokenizer.bos_id, *chain(*context.files), *path]
        prefix, suffix = whole or self._cut_code(prompt, limit, room - context.tokens)
        for part in self._around(prefix.ids, suffix.ids):
            ids += part
            if len(ids) > limit:
                break
        truncation = Truncation(prefix.characters_left_out, suffix.characters_left_out, context.lines_left_out)
        return RenderedFim(ids, truncation)

    def _whole_code(self, prompt: FimPrompt, limit: int) -> tuple[Kept, Kept]:
        """Prefix and suffix; the first part that is longer than the limit is the last."""
        prefix = self._tokenizer.encode(prompt.prefix, limit)
        sees_suffix = self.ids and len(prefix) <= limit
        return Kept(prefix), Kept(self._tokenizer.encode(prompt.suffix, limit) if sees_suffix else ())

    def _cut_code(self, prompt: FimPrompt, limit: int, room: int) -> tuple[Kept, Kept]:
        """Prefix and suffix within the room for both."""
        tokenizer = self._tokenizer
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
