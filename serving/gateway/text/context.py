"""pack_context: other code for a prompt, as much of it as a number of tokens allows, in an order that stays.

What a prompt begins with is computed once as long as it stays the same. So what changes least goes first, and within
that the order is that of paths and lines: a score decides whether a snippet is in the prompt, never where. Scores count
in steps, so that a small change of one seldom decides anything. Whatever is left out is reported.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from serving.gateway.request import ContextFile
from serving.gateway.text.prompts import file_text

CountTokens = Callable[[str], int]
"""How many tokens a text has, without BOS."""

_SCORE_STEP = 0.25
_SEPARATOR = 1
"""Tokens between a file and the next."""


class Stability(IntEnum):
    """How seldom a kind of context changes while a developer types, the most stable first."""

    IMPORT = 0
    """What the file imports: changes with its imports."""
    OPEN_FILE = 1
    """Another file that is open: changes as files are opened and edited."""
    SNIPPET = 2
    """Found by what is at the cursor: may change with each key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPiece:
    """Code of another file that may help.

    Attributes:
      path: of the file in its repository.
      text: whole lines. Of an import or a file the first lines may be taken; a snippet is taken whole or not at all.
      line: the line of the file that the text begins with, from 0.
      score: how much it may help, from 0 to 1.
    """

    stability: Stability
    path: str
    text: str
    line: int = 0
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Lines that are not in the prompt: the last `lines` of a piece."""

    piece: ContextPiece
    lines: int


@dataclass(frozen=True, slots=True)
class PackedContext:
    """What a prompt gets of all pieces.

    Attributes:
      files: for `FimPrompt.context_files`, in this order.
      tokens: how many these are in CodeGemma's form, separators included.
      left_out: what is not among them.
    """

    files: tuple[ContextFile, ...]
    tokens: int
    left_out: tuple[LeftOut, ...]


def pack_context(pieces: Iterable[ContextPiece], budget: int, count: CountTokens) -> PackedContext:
    """Packs what helps most into at most `budget` tokens.

    A text that a taken one of the same file contains is dropped, as nothing is lost.

    Args:
      pieces: in any order, which does not matter.
      budget: tokens of all files together, each with its path and a separator.
      count: of the tokenizer that renders the prompt.
    """
    taken: list[tuple[ContextPiece, ContextFile]] = []
    left_out: list[LeftOut] = []
    room = budget
    for piece in sorted(set(pieces), key=_importance):
        if not piece.text.strip() or any(it.path == piece.path and piece.text in it.text for _, it in taken):
            continue
        lines = piece.text.splitlines(keepends=True)
        fitting = _fitting(piece, lines, room, count)
        if not "".join(lines[:fitting]).strip():
            fitting = 0
        if fitting < len(lines):
            left_out.append(LeftOut(piece, len(lines) - fitting))
        if fitting:
            file = ContextFile(piece.path, "".join(lines[:fitting]))
            room -= count(file_text(file)) + _SEPARATOR
            taken.append((piece, file))
    taken.sort(key=lambda it: _place(it[0]))
    left_out.sort(key=lambda it: _place(it.piece))
    return PackedContext(tuple(file for _, file in taken), budget - room, tuple(left_out))


def _fitting(piece: ContextPiece, lines: Sequence[str], room: int, count: CountTokens) -> int:
    """How many first lines of a piece are at most `room` tokens; of a snippet all or none."""

    def fits(number: int) -> bool:
        return count(file_text(ContextFile(piece.path, "".join(lines[:number])))) + _SEPARATOR <= room

    if fits(len(lines)):
        return len(lines)
    if piece.stability is Stability.SNIPPET:
        return 0
    low, high = 0, len(lines)  # so many fit; so many do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _importance(piece: ContextPiece) -> tuple[object, ...]:
    return (-int(piece.score / _SCORE_STEP), *_place(piece))


def _place(piece: ContextPiece) -> tuple[int, str, int, str]:
    return piece.stability, piece.path, piece.line, piece.text
