"""StepPlan: which sequences have a row in a step, and how much of each it computes."""

from dataclasses import dataclass, field

from serving.engine.sequence import Sequence
from sharding.step import Row


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: `rows[i]` is what `sequences[i]` has in it: `tokens[i]` tokens, and draws after them if `draws[i]`."""

    sequences: list[Sequence] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    draws: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, sequence: Sequence, left: int, budget: int) -> int:
        """Adds as much as the budget allows of what a sequence has to compute before it draws; returns that much."""
        tokens = min(left, budget)
        self.sequences.append(sequence)
        self.tokens.append(tokens)
        self.draws.append(tokens == left)
        return tokens

    def share_outputs(self, outputs: int, budget: int) -> None:
        """Gives those that score, first come first served, what is left of the outputs once each row has one.

        Args:
          outputs: tokens after which the step can compute logits, at least as many as there are rows.
          budget: tokens that the step can compute beside those planned.
        """
        spare = min(outputs - len(self.sequences), budget)
        for index, sequence in enumerate(self.sequences):
            if sequence.scores:
                tokens = min(sequence.unlaunched, self.tokens[index] + spare)
                spare -= tokens - self.tokens[index]
                self.tokens[index] = tokens
                self.draws[index] = tokens == sequence.unlaunched
