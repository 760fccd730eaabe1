"""What developers do, and the service level objectives for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.config import Role


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What a developer at work does; assumptions, unless you have measured them.

    Attributes:
      keystrokes_per_minute: on average, pauses included.
      keystrokes_per_request: an editor asks when typing pauses, not at each key.
      chats_per_hour: chat requests.
      tokens: of a request, prompt and generated, by role.
      cached: part of a completion's prompt that its group still has.
    """

    keystrokes_per_minute: float = 40.0
    keystrokes_per_request: float = 20.0
    chats_per_hour: float = 6.0
    tokens: Mapping[Role, tuple[int, int]] = field(
        default_factory=lambda: {Role.FIM: (1500, 24), Role.CHAT: (1500, 400)}
    )
    cached: float = 0.7

    def requests_per_hour(self, role: Role) -> float:
        """Of one developer."""
        if role is Role.FIM:
            return self.keystrokes_per_minute * 60 / self.keystrokes_per_request
        return self.chats_per_hour

    def new_tokens(self, role: Role) -> float:
        """Tokens of a prompt that have to be computed."""
        prompt, _ = self.tokens[role]
        return prompt * (1 - self.cached if role is Role.FIM else 1.0)


@dataclass(frozen=True, kw_only=True)
class Goals:
    """Service level objectives: what 95 of 100 requests get, in the busiest hour too.

    Attributes:
      first_token_s: from the request to its first token, at most, by role.
      tokens_per_s: of an answer from then on, at least, by role.
    """

    first_token_s: Mapping[Role, float] = field(default_factory=lambda: {Role.FIM: 0.5, Role.CHAT: 2.0})
    tokens_per_s: Mapping[Role, float] = field(default_factory=lambda: {Role.FIM: 20.0, Role.CHAT: 10.0})
