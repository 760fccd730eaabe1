"""CompletionId: names an answer, and the model that gave it."""

from typing import NamedTuple

_BETWEEN = ":"
"""No model's id has it (`ModelConfig.id`)."""


class CompletionId(NamedTuple):
    """What an event says of a completion later, on whichever Gateway it comes to: none of them keeps a list."""

    request_id: str
    model: str

    def written(self) -> str:
        """As a client gets it."""
        return f"cmpl-{self.request_id}{_BETWEEN}{self.model}"

    @classmethod
    def read(cls, text: str) -> "CompletionId":
        """From what a client sends, whatever that is; without a model if it was not written here."""
        request_id, between, model = text.removeprefix("cmpl-").rpartition(_BETWEEN)
        return cls(request_id, model if between else "")
