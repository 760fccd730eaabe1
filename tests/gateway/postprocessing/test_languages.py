"""A language is known by its name or the path; every grammar loads and tells code from literals."""

import pytest

from serving.gateway.text.postprocessing.languages import LANGUAGES, Language, language_of
from serving.gateway.text.postprocessing.syntax import Syntax


@pytest.mark.parametrize(
    ("name", "path", "known"),
    [
        ("", "src/a.py", "python"),
        ("", "A.TSX", "typescriptreact"),
        ("", "include/a.hpp", "cpp"),
        ("C#", "", "csharp"),
        ("typescript", "a.py", "typescript"),
        ("shellscript", "", "shellscript"),
    ],
)
def test_a_language_is_known_by_its_name_or_else_the_path(name: str, path: str, known: str) -> None:
    assert language_of(name, path).names[0] == known


@pytest.mark.parametrize(("name", "path"), [("", ""), ("klingon", "a.py"), ("", "a.klingon"), ("", "py")])
def test_an_unknown_language_has_no_grammar(name: str, path: str) -> None:
    assert language_of(name, path).load_grammar() is None


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.names[0])
def test_every_language_tells_brackets_from_literals(language: Language) -> None:
    source = 'f("a("' if language.names[0] != "shellscript" else 'f() { "a("'
    reading = Syntax(language, source).read()
    assert [bracket.character for bracket in reading.brackets] in (["("], ["(", ")", "{"])
    assert not reading.in_literal


@pytest.mark.parametrize(
    ("path", "source", "inside"),
    [
        ("a.py", 'x = """a\n', True),
        ("a.py", 'x = """a"""\n', False),
        ("a.py", "x = 'a\n", False),
        ("a.py", "# a", True),
        ("a.py", "# a\n", False),
        ("a.ts", "const a = `b\n", True),
        ("a.ts", "/* b\n", True),
        ("a.rs", 'let a = r#"b\n"', True),
        ("a.go", "a := `b\n", True),
        ("a.kt", 'val a = """b\n', True),
        ("a.sh", "cat <<EOF\nb\n", True),
        ("a.klingon", '"""', False),
    ],
)
def test_the_end_of_a_text_is_inside_a_literal_or_not(path: str, source: str, inside: bool) -> None:
    assert Syntax(language_of("", path), source).read().in_literal is inside
