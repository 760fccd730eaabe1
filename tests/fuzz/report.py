"""Report: what came of the cases of one kind."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_SHOWN = 8


@dataclass
class Report:
    """Faults and answers.

    Attributes:
      kind: an operation of HTTP or a method of gRPC.
      cases: how many there were.
      answers: how often each status came.
      faults: what was wrong, and the case.
    """

    kind: str
    cases: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def told(self) -> Iterator[str]:
        """The faults for people: those that say the same are counted, each with its first case."""
        alike = Counter(what[:60] for what, _ in self.faults)
        for shape, count in alike.most_common(_SHOWN):
            what, case = next(fault for fault in self.faults if fault[0].startswith(shape))
            yield f"{count:5} x {self.kind}: {what[:400]}\n        {case[:600]}"
