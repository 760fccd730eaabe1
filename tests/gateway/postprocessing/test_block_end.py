"""An answer ends where the block at the cursor ends, in every language, however its text is cut into pieces."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.gateway.text.postprocessing.block_end import BlockEnd
from serving.gateway.text.postprocessing.languages import language_of
from tests.gateway.postprocessing.pieces import Cut, cuts, shown_of

# A place in a file, what the model writes there, and how much of that belongs: `before⟨shown⟩rest⟨⟩after`.
CASES = [
    pytest.param(
        "python",
        "def f(x):\n    ⟨total = 0\n    for a in x:\n        total += a\n    return total⟩\n\n\ndef g():⟨⟩\n\nh()\n",
        id="a function body, to its end and not into the next function",
    ),
    pytest.param(
        "python",
        'def f(x):⟨\n    """Text\n\nwith (any indentation\n    """\n    return 1⟩\n\ndef g():⟨⟩',
        id="a literal of many lines ends nothing",
    ),
    pytest.param(
        "python",
        "def f(x):\n    if x:⟨\n        a()\n    else:\n        b()⟩\n    c()\n⟨⟩\n    d()\n",
        id="a statement with its else",
    ),
    pytest.param("python", "x =⟨ 1⟩\ny = 2\n⟨⟩\n", id="the statement that the cursor is in"),
    pytest.param("python", "x = [\n    1,\n    ⟨2,\n    3,\n]⟩\ny = 1⟨⟩", id="a list that nothing closes yet"),
    pytest.param("python", "x = [\n    1,\n    ⟨2,\n    3,⟩\n]\ny = 1⟨⟩\n]\n", id="a list that the suffix closes"),
    pytest.param(
        "python",
        "import os\n⟨import sys\nimport re⟩\n\ndef main():\n    pass⟨⟩",
        id="top-level lines end at a blank line",
    ),
    pytest.param(
        "python",
        "class A:\n    a = 1\n\n    ⟨def g(self):\n        return 2⟩\n\n    def h(self):\n        return 3⟨⟩",
        id="one method of a class",
    ),
    pytest.param(
        "python",
        "def f(x):\n    a()\n    ⟨b()\n    c()⟩\n\n    d()\n⟨⟩\n    return x\n",
        id="lines with which the suffix goes on end at a blank line",
    ),
    pytest.param(
        "python",
        "def f(n):\n⟨    for i in n:\n⟩        for j in n:\n            x\n⟨⟩        for j in n:\n            pass\n",
        id="the suffix has the body of the line that is missing",
    ),
    pytest.param(
        "python",
        "def f(n):\n⟨    x = foo(\n        1,\n    )\n⟩    y = 2\n⟨⟩    return x\n",
        id="one statement before a line of the suffix, with the break between them",
    ),
    pytest.param(
        "python",
        "def f(n):\n⟨    # One.\n    # Two.\n    x = 1\n⟩    y = 2\n⟨⟩    return x\n",
        id="a statement with the comments before it",
    ),
    pytest.param(
        "python",
        "def f(n):\n    ⟨y = 2\n    ⟩return y⟨⟩return x\n",
        id="one statement and the indentation that the suffix's line needs",
    ),
    pytest.param("python", "print(⟨a, b⟩)\nprint(c)⟨⟩)\n", id="a bracket that the suffix has"),
    pytest.param("python", 'print("⟨hello⟩")\nprint(c)⟨⟩")\n', id="a quote that the suffix has"),
    pytest.param("python", "assert f(⟨x == 1⟩\ny⟨⟩, 'a')\n", id="the rest of a line"),
    pytest.param("python", "def f():\n    # note⟨ this⟩\n    return 1⟨⟩\n", id="a comment"),
    pytest.param(
        "python", 'def f():\n    """Sums⟨ up\n    numbers.⟩\n\n    Args:⟨⟩\n    """\n', id="a docstring's paragraph"
    ),
    pytest.param(
        "python", "def f(x):\r\n    ⟨y = 2\r\n    return y⟩\r\n\r\n\r\ndef g():⟨⟩\r\n", id="lines that end in CR LF"
    ),
    pytest.param(
        "javascript",
        "function f(a) {⟨\n  for (const x of a) {\n    g(x);\n  }\n  return a;\n⟩}\nh();⟨⟩}\n",
        id="a body between brackets of one line",
    ),
    pytest.param(
        "javascript",
        "function f() {\n  if (x) {\n    ⟨y();\n  } else {\n    z();\n  }⟩\n  w();\n}⟨⟩\n}\n",
        id="a block that the suffix does not close is closed, with its else",
    ),
    pytest.param(
        "javascript",
        "function f() {\n  if (x) {\n    ⟨y();⟩\n  } else {\n    z();\n  }\n}⟨⟩\n  }\n}\n",
        id="a block that the suffix closes is not closed",
    ),
    pytest.param(
        "javascript", "const r = /[(]/;\nif (x) {⟨\n  y(/}/);\n}⟩\nz();⟨⟩\n", id="brackets in patterns close nothing"
    ),
    pytest.param(
        "typescript",
        "class A {\n  f(v: B): A {\n    ⟨this.v = v;\n    return this;⟩\n  }\n\n  get v() {⟨⟩\n  }\n}\n",
        id="a method's body in TypeScript",
    ),
    pytest.param(
        "typescriptreact", "const a = (\n  <p>\n    ⟨it's (fine)⟩\n  </p>\n);⟨⟩\n  </p>\n);\n", id="text in TSX"
    ),
    pytest.param(
        "java",
        "class A {\n    ⟨int f() {\n        return 1;\n    }⟩\n\n    int g() {\n        return 2;\n    }\n⟨⟩\n}\n",
        id="one method in Java",
    ),
    pytest.param(
        "go",
        "func f() string {\n\t⟨x := `a {\n}\n`\n\treturn x\n}⟩\n\nfunc g() {⟨⟩",
        id="a raw literal in Go, and tabs",
    ),
    pytest.param(
        "rust",
        "fn f<'a>(x: &'a str) -> usize {\n    ⟨let c = '}';\n    x.len()⟩\n}\n\nfn g() {⟨⟩\n}\n",
        id="characters and lifetimes in Rust",
    ),
    pytest.param(
        "c", "int f(int x)⟨\n{\n    return x;\n}⟩\n\nint g(void)\n{⟨⟩", id="a bracket on a line of its own in C"
    ),
    pytest.param(
        "cpp",
        "namespace n {\n⟨struct A {\n  int a;\n};⟩\n\nstruct B {⟨⟩\n}\n",
        id="one declaration of a namespace in C++",
    ),
    pytest.param(
        "csharp",
        'class A {\n    void F() {\n        var s = ⟨@"a\n}";⟩\n        G();⟨⟩\n    }\n}\n',
        id="a verbatim literal in C#",
    ),
    pytest.param(
        "ruby",
        "def f(a)\n  a.each do |x|⟨\n    puts x\n  end⟩\n  return a\nend⟨⟩\nend\n",
        id="a block that a word ends in Ruby",
    ),
    pytest.param(
        "php",
        '<?php\nfunction f($x) {\n    ⟨return "a}" . $x;⟩\n}\n\nfunction g() {⟨⟩\n}\n',
        id="a literal in PHP",
    ),
    pytest.param(
        "shellscript",
        'if [ -n "$x" ]; then⟨\n  echo a\nelse\n  echo b\nfi⟩\necho c⟨⟩\n',
        id="a statement that a word ends in a shell script",
    ),
    pytest.param(
        "shellscript",
        'case "$x" in⟨\n  a)\n    echo a ;;\n  *)\n    echo b ;;\nesac⟩\necho c⟨⟩\n',
        id="patterns in a shell script",
    ),
    pytest.param(
        "c",
        "int f(void) {\n    ⟨a();\n#ifdef B\n    b();\n#endif\n    return 1;⟩\n}\n\nint g(void) {⟨⟩\n}\n",
        id="directives at the margin in C",
    ),
    pytest.param(
        "kotlin",
        "fun f(x: Int) {\n    when (x) {\n        ⟨1 -> a()\n        else -> b()\n    }⟩\n    c()\n}⟨⟩\n}\n",
        id="branches in Kotlin",
    ),
    pytest.param("", "a {\n  ⟨b;\n  c;⟩\n}\nd⟨⟩\n}\n", id="brackets of an unknown language"),
    pytest.param("", "a:\n  ⟨b\n  c⟩\nd⟨⟩\n", id="indentation of an unknown language"),
]


def block_end(prefix: str, suffix: str, language: str = "python") -> BlockEnd:
    return BlockEnd(prefix, suffix, language_of(language, ""))


@pytest.mark.parametrize(("language", "case"), CASES)
def test_an_answer_ends_with_the_block(language: str, case: str) -> None:
    prefix, _, rest = case.partition("⟨")
    generated, _, suffix = rest.partition("⟨⟩")
    shown, _, beyond = generated.partition("⟩")
    for pieces in ([shown + beyond], list(shown + beyond)):
        assert shown_of(block_end(prefix, suffix, language), pieces) == shown


@pytest.mark.parametrize(("language", "case"), CASES)
def test_what_comes_before_the_end_is_shown_whole_when_nothing_follows(language: str, case: str) -> None:
    prefix, _, rest = case.partition("⟨")
    generated, _, suffix = rest.partition("⟨⟩")
    shown = generated.partition("⟩")[0]
    assert shown_of(block_end(prefix, suffix, language), [shown]) == shown


lines = st.sampled_from(
    ["", "x = 1", "    return y", "if a:", "    if (b) {", "}", "    }", "else:", "  f(", ")", '"""', "# c (", "\tend"]
)
code = st.builds(str.join, st.sampled_from(["\n", "\r\n"]), st.lists(lines, max_size=6))
languages = st.sampled_from(["python", "javascript", "ruby", "shellscript", "go", ""])


@settings(deadline=None, max_examples=300)
@example(prefix="x", suffix="", cut=Cut("a\r\nb", ["a\r", "\nb"]), language="python")
@example(prefix="if a:", suffix="", cut=Cut("\n  b\nelse:\n  c", ["\n  b\nel", "se:\n  c"]), language="python")
@given(prefix=code, suffix=code, cut=cuts(code), language=languages)
def test_an_answer_ends_at_the_same_place_however_it_is_cut(prefix: str, suffix: str, cut: Cut, language: str) -> None:
    whole = shown_of(block_end(prefix, suffix, language), [cut.text])
    assert shown_of(block_end(prefix, suffix, language), cut.pieces) == whole
    assert cut.text.startswith(whole) or not prefix.rpartition("\n")[2].strip()


@settings(deadline=None, max_examples=300)
@given(prefix=code, suffix=code, cut=cuts(code), language=languages)
def test_only_the_beginning_of_a_line_is_held_back(prefix: str, suffix: str, cut: Cut, language: str) -> None:
    end = block_end(prefix, suffix, language)
    fed = shown = ""
    for piece in cut.pieces:
        fed += piece
        shown += end.feed(piece)
        if end.stopped:
            return
        assert len(fed.removeprefix(shown).split()) <= 1
        assert len(fed.removeprefix(shown).strip()) < len("endforeach")


def test_a_line_is_shown_character_by_character() -> None:
    end = block_end("def f():\n    ", "\n")
    assert [end.feed(piece) for piece in ("x", " = ", "1", "\n", "    ", "y")] == ["x", " = ", "1", "", "", "\n    y"]


def test_blank_lines_without_end_are_the_end() -> None:
    end = block_end("def f():\n    ", "\n")
    assert shown_of(end, ["x", "\n" * 5000, "    y"]) == "x"
    assert end.stopped


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_of_a_large_file_only_what_is_near_the_cursor_is_read(size: int) -> None:
    around = "x = (1)\n" * (size // 8)
    end = block_end(f"{around}def f():\n    ", f"\n\n\n{around}")
    assert shown_of(end, ["return 1\n\n\n", "def g():\n"]) == "return 1"


def test_half_a_character_pair_is_no_obstacle() -> None:
    end = block_end("def f():\n    x = '\ud83d'\n    ", "\n'\ud83d'")
    assert shown_of(end, ["y = '\ud83d)'\n", "z"]) == "y = '\ud83d)'"


def test_an_answer_longer_than_what_is_read_at_once_ends_with_its_statement() -> None:
    end = block_end("def f():\n    x = [", "")
    lines = ("'a)', \"b]\"," + " 123," * 40 + "\n        ") * 60
    assert shown_of(end, [lines, "]\n    return x\n"]) == f"{lines}]"
