"""The beginning or the end of a text that has too many tokens, in whole lines where these are not too long."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.gateway.text.tokenizer import Tokenizer

CHARACTERS = 8
"""For each token of a budget, all that is looked at. Source code has about four to a token."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a text.

    Attributes:
      ids: no more than the budget.
      characters_left_out: of the text.
    """

    ids: Sequence[int]
    characters_left_out: int = 0


def beginning(text: str, ids: Sequence[int], budget: int, tokenizer: Tokenizer) -> Kept:
    """The beginning of a text; all of it, if that is within the budget.

    Args:
      text: the text.
      ids: all of its ids, or more than the budget.
      budget: tokens.
      tokenizer: that of the model.
    """
    if len(ids) <= budget:
        return Kept(ids)
    within = ids[: max(budget, 0)]
    return _kept(text, whole_lines(within, tokenizer) or within, tokenizer)


def end(text: str, budget: int, step: int, tokenizer: Tokenizer) -> Kept:
    """The end of a text; all of it, if that is within the budget.

    It begins after a multiple of `step` tokens, or with the next line. So its beginning does not move with each
    character that is added to the text, or the prefix cache would never hit.
    """
    if budget <= 0:
        return Kept((), len(text))
    looked_at = text[_skipped(len(text), CHARACTERS * budget, CHARACTERS * step) :]
    ids = tokenizer.encode(looked_at)
    skipped = _skipped(len(ids), budget, step)
    if not skipped and len(looked_at) == len(text):
        return Kept(ids)
    places = range(skipped, min(skipped + step, len(ids)))
    line_begins = (place for place in places if place and _ends_line(ids[place - 1], tokenizer))
    return _kept(text, ids[next(line_begins, skipped) :], tokenizer)


def whole_lines(ids: Sequence[int], tokenizer: Tokenizer) -> Sequence[int]:
    """Those up to the last line break; none without one."""
    return next((ids[:place] for place in range(len(ids), 0, -1) if _ends_line(ids[place - 1], tokenizer)), ())


def _skipped(length: int, budget: int, step: int) -> int:
    """What is too much, in whole steps."""
    return min(-(-max(length - budget, 0) // step) * step, length)


def _ends_line(token_id: int, tokenizer: Tokenizer) -> bool:
    return tokenizer.id_bytes(token_id).endswith(b"\n")


def _kept(text: str, ids: Sequence[int], tokenizer: Tokenizer) -> Kept:
    return Kept(ids, max(len(text) - len(tokenizer.decode(ids)), 1))
