import re
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.cli.place import parse_place, split_at

TEXTS = st.text(alphabet=st.sampled_from("ab \t\n\r\x0c\u2028é😀"), max_size=40)
LINE_BREAK = re.compile(r"\r\n|\r|\n")


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.data())
def test_a_text_is_split_at_the_line_and_column_that_an_editor_shows(text: str, data: st.DataObject) -> None:
    lines = LINE_BREAK.split(text)
    line = data.draw(st.integers(1, len(lines)))
    column = data.draw(st.integers(1, len(lines[line - 1]) + 1))
    prefix, suffix = split_at(text, line, column)
    assert prefix + suffix == text
    assert LINE_BREAK.split(prefix) == [*lines[: line - 1], lines[line - 1][: column - 1]]


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        (0, 1, "has lines 1 to 3, and 0 is not among them"),
        (4, 1, "has lines 1 to 3, and 4 is not among them"),
        (2, 0, "has columns 1 to 5 in line 2, and 0 is not among them"),
        (2, 6, "has columns 1 to 5 in line 2, and 6 is not among them"),
    ],
)
def test_a_place_outside_the_text_is_refused_with_the_range_there_is(line: int, column: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        split_at("first\r\n2nd!\r\n", line, column)


def test_a_path_with_colons_and_windows_line_ends_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a:1:b.py"
    path.write_bytes("é = 1\r\nb = é\r\n".encode())
    assert parse_place(f"{path}:2:5").prefix == "é = 1\r\nb = "
    assert parse_place(f"{path}:2:5").suffix == "é\r\n"


def test_bad_places_name_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "latin1.py").write_bytes(b"caf\xe9")
    for place, message in {
        "app.py": "'app.py' is not FILE:LINE:COL, for example src/app.py:12:5",
        "app.py:3": "'app.py:3' is not FILE:LINE:COL, for example src/app.py:12:5",
        f"{tmp_path}/none.py:1:1": f"cannot read '{tmp_path}/none.py': No such file or directory",
        f"{tmp_path}:1:1": f"cannot read '{tmp_path}': Is a directory",
        f"{tmp_path}/latin1.py:1:1": f"'{tmp_path}/latin1.py' is not UTF-8 text (byte 3)",
    }.items():
        with pytest.raises(typer.BadParameter) as caught:
            parse_place(place)
        assert caught.value.message == message
