"""Report: sections of Markdown, kept as they come."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Report:
    """Sections of Markdown, printed and written as they come: what is measured is kept when a machine is lost.

    Attributes:
      path: where to write it; None: nowhere.
      deadline: of `time.monotonic`.
      began: likewise.
      sections: so far.
    """

    path: Path | None
    deadline: float
    began: float = field(default_factory=time.monotonic)
    sections: list[str] = field(default_factory=list)

    def add(self, section: str) -> None:
        self.sections.append(section)
        print(f"{section}\n", flush=True)
        if self.path:
            self.path.write_text("\n\n".join(self.sections) + "\n")

    def has_time(self, seconds: float, part: str) -> bool:
        """Whether a part that takes about so long still fits; says so if not."""
        fits = time.monotonic() + seconds < self.deadline
        if not fits:
            self.add(f"Skipped for lack of time: {part}.")
        return fits

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        print(f"[{part}: {time.monotonic() - began:.0f} s, {time.monotonic() - self.began:.0f} s so far]\n", flush=True)
