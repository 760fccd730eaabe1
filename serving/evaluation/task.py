"""Task: one question to a model, and how its answer becomes a program that tests itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question.

    Attributes:
      name: of the task, in its set.
      problem: what it was made from. Tasks of one problem stand or fall together, which comparisons heed.
      request: fields of the body of `/v1/completions`, without the model.
      before: the program up to the answer.
      after: the program from there on. It writes `END_MARK` when its tests have passed.
      canonical: an answer that is right.
    """

    name: str
    problem: str
    request: Mapping[str, object] = field(repr=False)
    before: str = field(repr=False)
    after: str = field(repr=False)
    canonical: str = field(repr=False)

    def program(self, answer: str) -> str:
        """The whole program."""
        return f"{self.before}{answer}{self.after}"
