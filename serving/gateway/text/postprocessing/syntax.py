"""Syntax: the brackets of a growing source text, without those in literals and comments.

tree-sitter's grammars tell code from literals and comments, in what has been written. Whether the *end* of the text is
inside one they tell only once that is complete; so it is completed for a trial, with each delimiter that the text has.
Without a grammar all text is code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node, Parser, Tree

from serving.gateway.text.postprocessing.languages import Language

OPENING = "([{"
CLOSING = ")]}"
PAIRS = dict(zip(OPENING, CLOSING, strict=True))
_LITERAL_NODES = ("string", "comment", "heredoc", "regex", "char", "rune", "quot")
"""What the names of nodes that are literals or comments have in them, over all grammars."""
_DELIMITERS = {'"""': '"""', "'''": "'''", '"': '"', "'": "'", "`": "`", "/*": "*/", '#"': '"#'}
_ORIGIN = (0, 0)


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
        self._tree: Tree | None = None
        self._parsed = 0  # bytes of the text that the tree is of
        self._text = b""
        self._read = 0  # bytes that were read
        self._delimiters: set[str] = set()
        self.extend(text)

    def extend(self, text: str) -> None:
        """The text grows."""
        self._text += text.encode(errors="replace")

    def read(self) -> Reading:
        """Reads what has come since the last call."""
        text, start = self._text, self._read
        self._read = len(text)
        if self._parser is None:
            brackets = [Bracket(chr(byte), at) for at, byte in enumerate(text[start:], start) if byte in b"()[]{}"]
            return Reading(brackets, bool(text[start:].strip()), in_literal=False)
        tree = self._parse()
        inside = _is_open(tree.root_node, len(text))
        for trial in () if inside else self._trials():
            completed = self._parser.parse(text + trial, _edited(tree, len(text), len(trial)))
            if _is_inside(completed.root_node, len(text)):
                inside, tree = True, completed
                break
        leaves = list(_leaves(tree.root_node, start, len(text)))
        return Reading(
            brackets=[
                Bracket(chr(text[leaf.end_byte - 1]), leaf.start_byte)
                for leaf in leaves
                if leaf.start_byte >= start and _is_bracket(leaf, text)
            ],
            has_code=any("comment" not in leaf.type for leaf in leaves),
            in_literal=inside,
        )

    def indentation(self, bracket: Bracket) -> str:
        """What the line of a bracket begins with."""
        line = self._text[self._text.rfind(b"\n", 0, bracket.at) + 1 : bracket.at]
        return line[: len(line) - len(line.lstrip())].decode()

    def is_last(self, bracket: Bracket) -> bool:
        """Whether the text ends with a bracket."""
        return bracket.at + 1 >= len(self._text)

    def _parse(self) -> Tree:
        assert self._parser is not None
        if self._tree is not None:
            self._tree = self._parser.parse(
                self._text, _edited(self._tree, self._parsed, len(self._text) - self._parsed)
            )
        else:
            self._tree = self._parser.parse(self._text)
        self._parsed = len(self._text)
        return self._tree

    def _trials(self) -> Iterator[bytes]:
        yield b"x"  # of a comment to the line's end, and of what ends at no delimiter of these
        for opening, closing in _DELIMITERS.items():
            if opening.encode() in self._text:
                yield closing.encode()


def _edited(tree: Tree, at: int, added: int) -> Tree:
    """A copy of the tree for a text that has `added` bytes more at its end, which was at `at`."""
    copy = tree.copy()
    copy.edit(
        start_byte=at,
        old_end_byte=at,
        new_end_byte=at + added,
        start_point=_ORIGIN,
        old_end_point=_ORIGIN,
        new_end_point=_ORIGIN,
    )
    return copy


def _is_literal(node: Node) -> bool:
    return any(part in node.type for part in _LITERAL_NODES) and "concatenated" not in node.type


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


def _leaves(node: Node, start: int, end: int) -> Iterator[Node]:
    """Tokens, literals and comments that are, in part, in a range."""
    if node.end_byte <= start or node.start_byte >= end or node.start_byte == node.end_byte:
        return
    if node.child_count == 0 or _is_literal(node):
        yield node
        return
    for child in node.children:
        yield from _leaves(child, start, end)


def _is_bracket(leaf: Node, text: bytes) -> bool:
    token = text[leaf.start_byte : leaf.end_byte].decode(errors="replace")
    return not leaf.is_named and (token[-1:] in PAIRS or token in PAIRS.values())
