"""LoadReport: what a load showed, as text and as a picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serving.load.ask import Outcome
from serving.quantile import quantile

_MS = 1000.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The requests of one kind.

    Attributes:
      ends: how many ended in which way.
      shown: part of them whose first text came, before the next keystroke where there was one.
      first_ms: times to the first text, sorted.
      total_ms: times of complete answers, sorted.
      pieces_per_second: of text, over all developers.
    """

    kind: str
    ends: Counter[str]
    shown: float
    first_ms: list[float]
    total_ms: list[float]
    pieces_per_second: float

    @property
    def requests(self) -> int:
        """All of them."""
        return self.ends.total()

    @property
    def failed(self) -> int:
        """Those that neither were complete nor cancelled by the developer."""
        return self.requests - self.ends["complete"] - self.ends["cancelled"]


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """A whole load.

    Attributes:
      title: what was run against what.
      seconds: how long it took.
      figures: of each kind of request.
      outcomes: every request.
    """

    title: str
    seconds: float
    figures: list[Figures]
    outcomes: Sequence[Outcome]

    @classmethod
    def of(cls, title: str, outcomes: Sequence[Outcome], seconds: float) -> "LoadReport":
        """Adds up what became of requests."""
        kinds = sorted({outcome.kind for outcome in outcomes}, reverse=True)
        figures = [_figures(kind, [each for each in outcomes if each.kind == kind], seconds) for kind in kinds]
        return cls(title=title, seconds=seconds, figures=figures, outcomes=outcomes)

    def markdown(self, picture: str) -> str:
        """The report; `picture` is the file name of the plots."""
        lines = [f"# {self.title}", "", f"![Latencies]({picture})", ""]
        lines += ["| | " + " | ".join(each.kind for each in self.figures) + " |", "|---|" + "--:|" * len(self.figures)]
        for name, cells in self.rows():
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += [
            "",
            "Times are the client's, from sending a request to its first text or to its end. *Shown in time* is the",
            "part of the completions whose first text came before the next keystroke, which cancels the request.",
            "",
        ]
        return "\n".join(lines)

    def rows(self) -> list[tuple[str, list[str]]]:
        """Each figure's name, and its value for each kind."""
        rows = [
            ("requests", [str(each.requests) for each in self.figures]),
            ("requests/s", [f"{each.requests / self.seconds:.1f}" for each in self.figures]),
            ("shown in time", [f"{each.shown:.1%}" if each.kind == "typing" else "-" for each in self.figures]),
        ]
        for percent in (50, 95, 99):
            rows.append((f"first text p{percent}, ms", [_at(each.first_ms, percent) for each in self.figures]))
        for percent in (50, 95):
            rows.append((f"complete answer p{percent}, ms", [_at(each.total_ms, percent) for each in self.figures]))
        rows += [
            ("pieces of text/s", [f"{each.pieces_per_second:.1f}" for each in self.figures]),
            ("complete", [str(each.ends["complete"]) for each in self.figures]),
            ("cancelled by the next keystroke", [str(each.ends["cancelled"]) for each in self.figures]),
            ("failed", [str(each.failed) for each in self.figures]),
        ]
        for end in sorted({end for each in self.figures for end in each.ends} - {"complete", "cancelled"}):
            rows.append((f"failed: {end}", [str(each.ends[end]) for each in self.figures]))
        return rows


def _at(sorted_values: Sequence[float], percent: int) -> str:
    value = quantile(sorted_values, percent / 100)
    return "-" if value is None else f"{value:.0f}"


def _figures(kind: str, outcomes: Sequence[Outcome], seconds: float) -> Figures:
    first = sorted(each.first_s * _MS for each in outcomes if each.first_s is not None)
    return Figures(
        kind=kind,
        ends=Counter(each.end for each in outcomes),
        shown=len(first) / len(outcomes),
        first_ms=first,
        total_ms=sorted(each.total_s * _MS for each in outcomes if each.end == "complete"),
        pieces_per_second=sum(each.pieces for each in outcomes) / seconds,
    )
