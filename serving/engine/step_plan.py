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

    def outputs_left(self, outputs: int) -> int:
        """How many of the outputs of the step none of the rows so far may need; at least one, for another row."""
        rows = zip(self.sequences, self.tokens, strict=True)
        return max(1, outputs - sum(tokens if sequence.scores else 1 for sequence, tokens in rows))

    def share_outputs(self, outputs: int) -> None:
        """Cuts what is scored to the outputs of the step: one for each row, and what is left to the first that score.

        Args:
          outputs: tokens after which the step can compute logits, at least as many as there are rows.
        """
        spare = outputs - len(self.sequences)
        for index, sequence in enumerate(self.sequences):
            if sequence.scores and self.tokens[index] > 1 + spare:
                self.tokens[index] = 1 + spare
                self.draws[index] = False
            if sequence.scores:
                spare -= self.tokens[index] - 1
