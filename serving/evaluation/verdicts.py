"""Verdicts: how the programs of a self-check ended, kept as soon as each is known."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """How a program ended.

    Attributes:
      program: a digest of it and of the version of what ran it.
      how: `passed`, or how else and why.
    """

    program: str
    how: str


class Verdicts:
    """Those of one toolchain, by program."""

    def __init__(self, version: str, known: Iterable[Verdict], keep: Callable[[Verdict], None]) -> None:
        """Begins with what is known.

        Args:
          version: of the toolchain; with another a program may end otherwise.
          known: verdicts, of this toolchain or others.
          keep: is given each new one.
        """
        self._version = version
        self._known = {each.program: each.how for each in known}
        self._keep = keep

    def of(self, program: str) -> str | None:
        """How a program ended, if it was run."""
        return self._known.get(self._digest(program))

    def add(self, program: str, how: str) -> None:
        """Keeps how it ended."""
        verdict = Verdict(self._digest(program), how)
        self._known[verdict.program] = how
        self._keep(verdict)

    def _digest(self, program: str) -> str:
        return hashlib.sha256(f"{self._version}\0{program}".encode(errors="surrogatepass")).hexdigest()
