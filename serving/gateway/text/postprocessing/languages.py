"""Language: what is to be known of a programming language to see where its blocks end."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from os.path import splitext

from tree_sitter import Language as Grammar

OTHER_LANGUAGE = "other"
"""The name of a language that is not known."""


@dataclass(frozen=True, slots=True)
class Language:
    """A programming language.

    Attributes:
      names: as editors name it.
      extensions: of its files, without the dot.
      grammar: the package of its tree-sitter grammar and the function there; empty: nothing is known of its texts.
      clauses: words with which a line goes on with the statement above it, at the indentation of that statement.
      ends: words that end a block, as a closing bracket does.
      margin: what lines begin with that may stand at the margin within any block; empty: no such lines.
      closes_patterns: whether brackets close what none has opened, as after the patterns of a shell's `case`.
    """

    names: tuple[str, ...]
    extensions: tuple[str, ...] = ()
    grammar: tuple[str, str] = ("", "language")
    clauses: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    margin: str = ""
    closes_patterns: bool = False

    @property
    def name(self) -> str:
        """Its one name in metrics."""
        return self.names[0] if self.names else OTHER_LANGUAGE

    def load_grammar(self) -> Grammar | None:
        """The grammar; None if there is none."""
        return _load(*self.grammar) if self.grammar[0] else None


@cache
def _load(package: str, function: str) -> Grammar:
    return Grammar(getattr(import_module(package), function)())


_C_CLAUSES = frozenset({"else", "catch", "finally"})

LANGUAGES = (
    Language(
        ("python",),
        ("py", "pyi", "pyw"),
        ("tree_sitter_python", "language"),
        frozenset({"else", "elif", "except", "finally"}),
    ),
    Language(
        ("javascript", "javascriptreact"),
        ("js", "jsx", "mjs", "cjs"),
        ("tree_sitter_javascript", "language"),
        _C_CLAUSES,
    ),
    Language(("typescript",), ("ts", "mts", "cts"), ("tree_sitter_typescript", "language_typescript"), _C_CLAUSES),
    Language(("typescriptreact", "tsx"), ("tsx",), ("tree_sitter_typescript", "language_tsx"), _C_CLAUSES),
    Language(("go",), ("go",), ("tree_sitter_go", "language")),
    Language(("java",), ("java",), ("tree_sitter_java", "language"), _C_CLAUSES),
    Language(("c",), ("c", "h"), ("tree_sitter_c", "language"), _C_CLAUSES, margin="#"),
    Language(
        ("cpp", "c++", "cuda-cpp"),
        ("cc", "cpp", "cxx", "hh", "hpp", "hxx", "cu", "cuh"),
        ("tree_sitter_cpp", "language"),
        _C_CLAUSES,
        margin="#",
    ),
    Language(("rust",), ("rs",), ("tree_sitter_rust", "language"), frozenset({"else"})),
    Language(("csharp", "c#"), ("cs",), ("tree_sitter_c_sharp", "language"), _C_CLAUSES, margin="#"),
    Language(
        ("ruby",),
        ("rb", "rake", "gemspec"),
        ("tree_sitter_ruby", "language"),
        frozenset({"else", "elsif", "when", "in", "rescue", "ensure"}),
        frozenset({"end"}),
    ),
    Language(
        ("php",),
        ("php",),
        ("tree_sitter_php", "language_php_only"),
        _C_CLAUSES | {"elseif"},
        frozenset({"endif", "endwhile", "endfor", "endforeach", "endswitch"}),
    ),
    Language(
        ("shellscript", "bash", "sh", "zsh"),
        ("sh", "bash", "zsh"),
        ("tree_sitter_bash", "language"),
        frozenset({"then", "else", "elif", "do"}),
        frozenset({"fi", "done", "esac"}),
        closes_patterns=True,
    ),
    Language(("kotlin",), ("kt", "kts"), ("tree_sitter_kotlin", "language"), _C_CLAUSES),
)
_UNKNOWN = Language((), clauses=frozenset({"else", "elif", "except", "finally", "catch"}))


def _keys(language: Language) -> Iterator[str]:
    yield from language.names
    yield from (f".{extension}" for extension in language.extensions)


_BY_KEY = {key: language for language in LANGUAGES for key in _keys(language)}


def language_of(name: str, path: str) -> Language:
    """The language with this name or, without one, of this path; one without a grammar if it is not known."""
    key = name.lower() if name else splitext(path)[1].lower()
    return _BY_KEY.get(key, _UNKNOWN)
