"""Stop texts and the suffix's first lines end a text at the same place, however it is cut into pieces."""

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.gateway.text.answer_text import TextFilter
from serving.gateway.text.stops import StopTexts
from serving.gateway.text.suffix_stop import SuffixStop

letters = st.text(alphabet="ab\n", max_size=30)


def filtered(text_filter: TextFilter, pieces: list[str]) -> list[str]:
    """What a filter shows after each piece, and at the end."""
    shown = []
    for piece in pieces:
        shown.append(text_filter.feed(piece))
        if text_filter.stopped:
            return shown
    return [*shown, text_filter.flush()]


@st.composite
def cut_texts(draw: st.DrawFn, texts: st.SearchStrategy[str] = letters) -> tuple[str, list[str]]:
    """A text, and the same text in pieces."""
    text = draw(texts)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    return text, [text[start:end] for start, end in itertools.pairwise(cuts)]


@settings(deadline=None, max_examples=500)
@example(cut=("aa\na", ["aa\n", "a"]), stops=["\n", "a\na"])
@given(cut=cut_texts(), stops=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3))
def test_a_text_ends_before_the_stop_text_that_is_complete_first(cut: tuple[str, list[str]], stops: list[str]) -> None:
    text, pieces = cut
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    text_filter = StopTexts(stops)
    assert "".join(filtered(text_filter, pieces)) == (text[: min(ends)[1]] if ends else text)
    assert text_filter.stopped == bool(ends)
    assert text_filter.met == (text[min(ends)[1] : min(ends)[0]] if ends else "")


@settings(deadline=None, max_examples=300)
@given(cut=cut_texts(), stops=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), max_size=3))
def test_only_what_could_begin_a_stop_text_is_held_back(cut: tuple[str, list[str]], stops: list[str]) -> None:
    _, pieces = cut
    text_filter = StopTexts(stops)
    fed = shown = ""
    for piece in pieces:
        fed += piece
        shown += text_filter.feed(piece)
        if text_filter.stopped:
            return
        held = fed.removeprefix(shown)
        assert not held or any(stop.startswith(held) for stop in stops)


lines = st.sampled_from(["", "    x = 1", "    return total", "}", "    }", "def g():", ")", "else:", " for a in b]"])
code = st.lists(lines, max_size=6).map("\n".join)


@settings(deadline=None, max_examples=1000)
@given(prefix=code, suffix=code, cut=cut_texts(code))
def test_the_suffix_ends_a_text_at_the_same_place_however_it_is_cut(
    prefix: str, suffix: str, cut: tuple[str, list[str]]
) -> None:
    text, pieces = cut
    whole = "".join(filtered(SuffixStop(prefix, suffix), [text]))
    assert "".join(filtered(SuffixStop(prefix, suffix), pieces)) == whole
    assert text.startswith(whole)


@settings(deadline=None, max_examples=300)
@given(
    prefix=code,
    middle=st.lists(st.sampled_from(["a = 1", "  b(2)", ""]), max_size=4),
    suffix=code.filter(str.strip),
)
def test_whole_lines_that_run_on_into_the_suffix_end_there(prefix: str, middle: list[str], suffix: str) -> None:
    prefix += "\n"
    generated = "".join(f"{line}\n" for line in middle)
    text_filter = SuffixStop(prefix, suffix)
    shown = "".join(filtered(text_filter, [f"{generated}{suffix}\nfurther = 3"]))
    assert text_filter.stopped
    assert _lines(prefix + shown + suffix) == _lines(prefix + generated + suffix)


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize(
    ("prefix", "suffix", "generated", "shown"),
    [
        pytest.param(
            "def f():\n    ",
            "\n    return total\n",
            "total = 1\n\n    return total\n\ndef g():",
            "total = 1",
            id="cursor at the end of a line: the break before the suffix is the suffix's",
        ),
        pytest.param(
            "def f():\n",
            "    return total\n",
            "    total = 1\n    return total\n",
            "    total = 1\n",
            id="cursor at the start of a line: the indentation is the suffix's",
        ),
        pytest.param(
            "def f():\n    ",
            "return total\n",
            "total = 1\n    return total\n",
            "total = 1\n    ",
            id="cursor inside the indentation: the generated indentation stays",
        ),
        pytest.param(
            "print(", ")\n", "a, b)\nprint(c)", "a, b", id="cursor inside a line: its rest ends the generated line"
        ),
        pytest.param(
            "a = [",
            " for x in values]\n",
            "f(x) for x in values]\nb",
            "f(x)",
            id="cursor inside a line: a space that the rest of the line begins with counts",
        ),
        pytest.param(
            "void f() {\n    ",
            "\n}\n",
            "if (x) {\n        y();\n    }\n}\nvoid g() {",
            "if (x) {\n        y();\n    }",
            id="an indistinct suffix needs its exact indentation",
        ),
        pytest.param(
            "void f() {\n    ",
            "\n}\n\nvoid g() {\n",
            "if (x)\n{\n}\nz();\n}\n\nvoid g() {\n",
            "if (x)\n{\n}\nz();",
            id="an indistinct first line needs the next one beside it",
        ),
        pytest.param(
            "def f(a):\n    ",
            "\n    return total_of(a)\n",
            "x = 1\nif a:\n        return total_of(a)\n",
            "x = 1\nif a:",
            id="a distinct line ends the text however it is indented",
        ),
        pytest.param(
            "a = 1\n",
            "\nfinal_call()\n",
            "b = final_call() + 1\n",
            "b = final_call() + 1\n",
            id="a part of a line is no match",
        ),
        pytest.param("a = ", "", "1\n\n\nb = 2", "1\n\n\nb = 2", id="without a suffix nothing ends the text"),
        pytest.param("a = ", "\n  \n", "1\n  \nb", "1\n  \nb", id="a blank suffix ends nothing"),
        pytest.param(
            "a = 1\n", "final_call()\n", "b = 2\nfinal_call()", "b = 2\n", id="the last line may lack its break"
        ),
    ],
)
def test_a_text_ends_where_the_suffix_begins(prefix: str, suffix: str, generated: str, shown: str) -> None:
    assert "".join(filtered(SuffixStop(prefix, suffix), list(generated))) == shown


@pytest.mark.parametrize(
    ("prefix", "suffix", "generated", "shown"),
    [
        pytest.param("if a:\n    ", "\nelse:\n    c = cleanup()\n", "b()\nelse:", "b()", id="the first line of two"),
        pytest.param("if a:\n    ", "\nelse:\n    c = cleanup()\n", "b()\nelse:\n", "b()", id="with its line break"),
        pytest.param(
            "if a:\n    ", "\nelse:\n    c = cleanup()\n", "b()\n  else:", "b()\n  else:", id="indented otherwise"
        ),
        pytest.param(
            "if a:\n    ", "\nelse:\n    c = cleanup()\n", "b()\nelse: d()", "b()\nelse: d()", id="another line"
        ),
        pytest.param("{\n  ", "\n}\n\nint main() {\n", "a;\n}", "a;\n}", id="brackets, which may be others"),
    ],
)
def test_first_lines_of_the_suffix_are_left_out_at_the_end_of_a_text(
    prefix: str, suffix: str, generated: str, shown: str
) -> None:
    for pieces in ([generated], list(generated)):
        assert "".join(filtered(SuffixStop(prefix, suffix, in_part=True), pieces)) == shown
    assert "".join(filtered(SuffixStop(prefix, suffix), [generated])) == generated


def test_text_that_cannot_be_the_suffix_is_shown_at_once() -> None:
    text_filter = SuffixStop("def f():\n    ", "\n    return total\n")
    assert [text_filter.feed(piece) for piece in ("x = 1", "\n    ret", "ry", "\n    return total", "\n")] == [
        "x = 1",
        "",
        "\n    retry",
        "",
        "",
    ]
    assert text_filter.stopped


class CountingText(str):
    """A stop text that counts how often its characters are looked at."""

    __slots__ = ("looks",)

    looks: int

    def __new__(cls, text: str) -> "CountingText":
        counting = super().__new__(cls, text)
        counting.looks = 0
        return counting

    def __getitem__(self, key: Any) -> str:
        self.looks += 1
        return super().__getitem__(key)

    def startswith(self, *args: Any) -> bool:
        self.looks += 1
        return super().startswith(*args)


@pytest.mark.parametrize("text", ["a" * 2000, ("a" * 999 + "c") * 2, "ab" * 1000])
@pytest.mark.parametrize("stop", ["a" * 999 + "b", "a" * 500 + "b" + "a" * 500, "ab" * 400 + "c"])
def test_the_work_for_stop_texts_grows_with_the_text_alone(text: str, stop: str) -> None:
    counting = [CountingText(stop), CountingText("c" + stop)]
    filtered(StopTexts(counting), list(text))
    assert sum(stop.looks for stop in counting) <= 8 * len(text)


def test_a_line_of_the_suffix_counts_up_to_its_first_characters() -> None:
    line = "x = [" + ", ".join(map(str, range(100_000))) + "]"
    text_filter = SuffixStop("a = 1\n", f"{line}\n")
    shown = "".join(filtered(text_filter, ["b = 2\n", *map("".join, itertools.batched(line, 10))]))
    assert (shown, text_filter.stopped) == ("b = 2\n", True)


@pytest.mark.parametrize(
    ("prefix", "suffix", "text"),
    [
        pytest.param("a = 1\n", "return total\n", "\n" * 20_000, id="blank lines without end"),
        pytest.param("a = 1\n", "return total\n", "b\n" + " " * 20_000, id="a blank line without end"),
        pytest.param("f(", "a" * 100_000, "a" * 20_000, id="a line like the rest of the cursor's"),
        pytest.param("f(", "a)\nreturn total\n", "a)" + "\n" * 20_000, id="blank lines inside the suffix's lines"),
    ],
)
def test_what_is_held_back_is_bounded(prefix: str, suffix: str, text: str) -> None:
    text_filter = SuffixStop(prefix, suffix)
    shown = 0
    for fed, character in enumerate(text, start=1):
        shown += len(text_filter.feed(character))
        if text_filter.stopped:
            break
        assert fed - shown <= 4096
