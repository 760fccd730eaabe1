"""pack_context: other files for a prompt, as much of them as a number of tokens allows, in an order that stays.

What a prompt begins with is computed once as long as it stays the same. So what changes least goes first, and within
that the order is that of paths: a score decides whether a file is in the prompt, never where. Scores count in steps, so
that a small change of one seldom decides anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from serving.gateway.request import ContextFile, ContextKind
from serving.gateway.text.cut import CHARACTERS, whole_lines
from serving.gateway.text.tokenizer import Tokenizer

_SCORE_STEP = 0.25
_MAX_ENCODED = 2
"""Tokens that are encoded for each one of the budget: to find out that a file does not fit takes encoding it."""


@dataclass(frozen=True, slots=True)
class PackedContext:
    """What a prompt gets of all files.

    Attributes:
      files: the ids of each, with its path and its end, in the prompt's order.
      lines_left_out: lines of the files that are not among them.
    """

    files: tuple[Sequence[int], ...]
    lines_left_out: int

    @property
    def tokens(self) -> int:
        """How many ids there are."""
        return sum(map(len, self.files))


def file_text(file: ContextFile) -> str:
    """Another file as the model sees it, without its end."""
    return f"{file.path}\n{file.text}"


def pack_context(
    files: Iterable[ContextFile], budget: int, tokenizer: Tokenizer, end_of_file: Sequence[int]
) -> PackedContext:
    """Packs what helps most into at most `budget` tokens.

    Of imports and open files the first lines may be taken, of a snippet all or none. A text that a taken one of the
    same path contains is dropped, as nothing is lost.

    Args:
      files: in any order, which does not matter.
      budget: tokens of all of them together, each with its path and its end.
      tokenizer: that of the model.
      end_of_file: ids that follow each file.
    """
    taken: list[tuple[ContextFile, Sequence[int]]] = []
    room, encodable, lines_left_out = budget, _MAX_ENCODED * budget, 0
    for file in sorted(set(files), key=_importance):
        if not file.text.strip() or any(it.path == file.path and file.text in it.text for it, _ in taken):
            continue
        most = room - len(end_of_file)
        # Of a snippet that is much too long nothing is taken: it leaves what may be encoded to others.
        is_much_too_long = file.kind is ContextKind.SNIPPET and len(file.text) > CHARACTERS * most
        may_encode = most > 0 and encodable > 0 and not is_much_too_long
        ids: Sequence[int] = tokenizer.encode(file_text(file), most) if may_encode else ()
        encodable -= len(ids)
        part = file
        if not ids or len(ids) > most:
            part, ids = _first_lines(file, ids[: max(most, 0)], tokenizer)
            lines_left_out += len(file.text.splitlines()) - len(part.text.splitlines())
        if ids:
            room -= len(ids) + len(end_of_file)
            taken.append((part, (*ids, *end_of_file)))
    taken.sort(key=lambda it: _place(it[0]))
    return PackedContext(tuple(ids for _, ids in taken), lines_left_out)


def _first_lines(file: ContextFile, ids: Sequence[int], tokenizer: Tokenizer) -> tuple[ContextFile, Sequence[int]]:
    """The lines of a file that are whole in its first ids, and their ids; none of a snippet, nor of blank lines."""
    whole = () if file.kind is ContextKind.SNIPPET else whole_lines(ids, tokenizer)
    text = tokenizer.decode(whole).removeprefix(f"{file.path}\n")
    return (replace(file, text=text), whole) if text.strip() else (replace(file, text=""), ())


def _importance(file: ContextFile) -> tuple[object, ...]:
    return (-int(file.score / _SCORE_STEP), *_place(file))


def _place(file: ContextFile) -> tuple[int, str, str]:
    return file.kind, file.path, file.text
