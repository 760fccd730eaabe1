"""Pace: how long the steps of a replica group take."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A step reads the weights, adds a token to each row that decodes, and computes part of one prompt.

    Attributes:
      step_s: of a step by itself, more than 0: the weights, once through the memory.
      row_s: that each row adds, of middling context.
      prompt_token_s: that each token of a prompt adds.
      step_tokens: tokens computed in one step, at most.
    """

    step_s: float
    row_s: float
    prompt_token_s: float
    step_tokens: int

    def decode_s(self, rows: float) -> float:
        """A step in which so many rows decode."""
        return self.step_s + rows * self.row_s

    def room(self, rows: float) -> float:
        """Tokens of prompts that a step has room for, beside so many rows that decode."""
        return max(1.0, self.step_tokens - rows)

    def prompt_steps(self, tokens: float, rows: float) -> int:
        """Steps that a prompt takes beside so many rows."""
        return max(1, ceil(tokens / self.room(rows)))

    def prompt_s(self, tokens: float, rows: float) -> float:
        """From the first step of a prompt to the end of its last, beside so many rows."""
        return self.prompt_steps(tokens, rows) * self.decode_s(rows) + tokens * self.prompt_token_s
