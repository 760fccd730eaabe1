"""Syntax: the brackets of a growing source text, without those in literals and comments.

tree-sitter's grammars tell code from literals and comments, in what has been written. Whether the *end* of the text is
inside one they tell only once that is complete; so it is completed for a trial, with the end of each that may be open.
Text with nothing that could open one is code without asking the grammar, and so is all text without a grammar.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tree_sitter import Node, Parser, Tree

from serving.gateway.text.postprocessing.languages import Language

OPENING = "([{"
CLOSING = ")]}"
PAIRS = dict(zip(OPENING, CLOSING, strict=True))
_LITERAL_NODES = ("string", "comment", "heredoc", "regex", "char", "rune", "quot")
"""What the names of nodes that are literals or comments have in them, over all grammars."""
_DELIMITERS = {b'"""': b'"""', b"'''": b"'''", b'"': b'"', b"'": b"'", b"`": b"`", b"/*": b"*/", b'#"': b'"#'}
"""What opens a literal or a comment of several lines, and what ends it."""
_KEPT = 4096
"""Bytes of the text that a grammar still reads when it is longer."""
_OPENS_LITERAL = re.compile(rb"[\"'`#/]|<<|%\w?[(\[{]|\?>")
"""What a literal or a comment begins with, in some language."""
_BRACKETS = re.compile(rb"[()\[\]{}]")


@dataclass(frozen=True, slots=True)
class Bracket:
    """A bracket of the code.

    Attributes:
      at: where in the text; bytes of its UTF-8.
    """

    character: str
    at: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a part of the text, up to its present end, has.

    Attributes:
      brackets: those of the code.
      has_code: whether it has anything but space and comments.
      in_literal: whether its end is inside a literal or a comment.
    """

    brackets: list[Bracket]
    has_code: bool
    in_literal: bool


class Syntax:
    """A source text that grows."""

    def __init__(self, language: Language, text: str = "") -> None:
        grammar = language.load_grammar()
        self._parser = Parser(grammar) if grammar else None
        self._text = text.encode(errors="replace")
        self._read = 0  # bytes that were read
        self._outside = 0  # bytes up to the last place that was in no literal

    def extend(self, text: str) -> None:
        """The text grows."""
        if self._outside == len(self._text) > 2 * _KEPT:  # of a long text what is long past no longer matters
            start = self._text.find(b"\n", -_KEPT) + 1
            self._text = self._text[start:]
            self._read = self._outside = len(self._text)
        self._text += text.encode(errors="replace")

    def read(self) -> Reading:
        """Reads what has come since the last call."""
        text, start = self._text, self._read
        self._read = len(text)
        if self._parser is None or (self._outside == start and not _OPENS_LITERAL.search(text, start)):
            self._outside = len(text)
            brackets = [Bracket(found[0].decode(), found.start()) for found in _BRACKETS.finditer(text, start)]
            return Reading(brackets, bool(text[start:].strip()), in_literal=False)
        tree = self._parser.parse(text)
        inside = _is_open(tree.root_node, len(text))
        if not inside:
            for trial in self._trials(tree.root_node):
                completed = self._parser.parse(text + trial)
                if _is_inside(completed.root_node, len(text)):
                    inside, tree = True, completed
                    break
        if not inside:
            self._outside = len(text)
        has_code = any("comment" not in leaf.type for leaf in _leaves(tree, start, len(text)))
        return Reading(list(_brackets(tree, text, start)), has_code, inside)

    def indentation(self, bracket: Bracket) -> str:
        """What the line of a bracket begins with."""
        line = self._text[self._text.rfind(b"\n", 0, bracket.at) + 1 : bracket.at]
        return line[: len(line) - len(line.lstrip())].decode()

    def is_last(self, bracket: Bracket) -> bool:
        """Whether the text ends with a bracket."""
        return bracket.at + 1 >= len(self._text)

    def _trials(self, root: Node) -> Iterator[bytes]:
        """What the text would go on with in a literal: anything, and the end of each that may be open."""
        yield b"x"
        if root.has_error:
            yield from (
                closing for opening, closing in _DELIMITERS.items() if self._text.find(opening, self._outside) >= 0
            )


@cache
def _names_literal(node_type: str) -> bool:
    return any(part in node_type for part in _LITERAL_NODES) and "concatenated" not in node_type


def _is_literal(node: Node) -> bool:
    return _names_literal(node.type)


def _is_open(root: Node, at: int) -> bool:
    """Whether a literal ends at a place only because the text does: with a token that is not there."""
    node = root.descendant_for_byte_range(max(at - 1, 0), at)
    while node is not None:
        last = node.children[-1] if node.children else node
        if node.end_byte == at and _is_literal(node) and last.start_byte == last.end_byte:
            return True
        node = node.parent
    return False


def _is_inside(root: Node, at: int) -> bool:
    """Whether a literal or comment begins before a place and ends after it."""
    node: Node | None = root.descendant_for_byte_range(max(at - 1, 0), at)
    while node is not None:
        if node.start_byte < at < node.end_byte and _is_literal(node):
            return True
        node = node.parent
    return False


def _brackets(tree: Tree, text: bytes, start: int) -> Iterator[Bracket]:
    """The brackets of the code from a place on."""
    for leaf in _leaves(tree, start, len(text), with_brackets_of=text):
        token = text[leaf.start_byte : leaf.end_byte].decode(errors="replace")
        if leaf.start_byte >= start and not leaf.is_named and (token[-1] in PAIRS or token in PAIRS.values()):
            yield Bracket(token[-1], leaf.start_byte)


def _leaves(tree: Tree, start: int, end: int, with_brackets_of: bytes = b"") -> Iterator[Node]:
    """Tokens, literals and comments that are, in part, in a range; only those with brackets if the text is given."""
    cursor = tree.walk()
    while True:
        node = cursor.node
        if node is None or node.start_byte >= end:
            return
        wanted = not with_brackets_of or _BRACKETS.search(with_brackets_of, node.start_byte, node.end_byte)
        is_leaf = node.child_count == 0 or _is_literal(node)
        if wanted and not is_leaf and cursor.goto_first_child_for_byte(start) is not None:
            continue
        if wanted and is_leaf and start < node.end_byte > node.start_byte:
            yield node
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
