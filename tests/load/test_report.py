"""LoadReport: the figures of a load, as text and as a picture."""

from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from serving.load.ask import Outcome
from serving.load.plot import plot_load
from serving.load.report import LoadReport


def outcome(
    kind: Literal["typing", "chat"] = "typing",
    end: str = "complete",
    first_s: float | None = 0.1,
    started_s: float = 0.0,
) -> Outcome:
    return Outcome(kind=kind, started_s=started_s, first_s=first_s, total_s=0.5, pieces=4, end=end)


def test_each_kind_is_added_up_for_itself() -> None:
    outcomes = [
        *[outcome(first_s=index / 100) for index in range(1, 101)],
        outcome(end="cancelled", first_s=None),
        outcome(end="unavailable", first_s=None),
        outcome("chat", first_s=2.0),
    ]
    report = LoadReport.of("a load", outcomes, seconds=10)
    typing, chat = report.figures
    assert (typing.kind, typing.requests, typing.failed, typing.shown) == ("typing", 102, 1, 100 / 102)
    assert (chat.kind, chat.requests, chat.failed) == ("chat", 1, 0)
    rows = dict(report.rows())
    assert rows["first text p50, ms"] == ["500", "2000"]
    assert rows["first text p95, ms"] == ["950", "2000"]
    assert rows["requests/s"] == ["10.2", "0.1"]
    assert rows["failed: unavailable"] == ["1", "0"]
    assert rows["pieces of text/s"] == ["40.8", "0.4"]


def test_the_text_names_the_picture_and_holds_every_row() -> None:
    report = LoadReport.of("a load", [outcome()], seconds=10)
    text = report.markdown("report.svg")
    assert "![Latencies](report.svg)" in text
    assert all(f"| {name} | " in text for name, _ in report.rows())


def test_a_kind_that_never_got_an_answer_has_no_times(tmp_path: Path) -> None:
    report = LoadReport.of("a load", [outcome(end="overloaded", first_s=None)], seconds=10)
    assert dict(report.rows())["first text p50, ms"] == ["-"]
    plot_load(report, tmp_path / "report.svg")


def test_the_picture_is_an_svg_that_names_both_kinds(tmp_path: Path) -> None:
    outcomes = [outcome(kind, started_s=second) for kind in ("typing", "chat") for second in range(10)]
    path = tmp_path / "report.svg"
    plot_load(LoadReport.of("a load", outcomes, seconds=10), path)
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert all(word in path.read_text() for word in ("typing p95", "chat p50", "a load"))
