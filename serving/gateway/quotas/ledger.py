"""Ledger: what accounts have used within a minute, and what they are using."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

WINDOW_S = 60.0

Limit = Literal["requests_per_minute", "tokens_per_minute", "concurrent_requests"]


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant's or a key's, with its limits; None for those that it does not have.

    Attributes:
      name: unlike any other's.
      requests: begun within a minute.
      tokens: of the requests that were begun within a minute.
      concurrent: requests that have begun and not ended.
    """

    name: str
    requests: int | None = None
    tokens: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not entered.

    Attributes:
      account: the position of the account that has no room for it.
      limit: which of its limits.
      left: what is left of that.
      wait_s: until there is room for it, if nothing else comes; unknown for concurrent requests.
    """

    account: int
    limit: Limit
    left: int
    wait_s: float | None


class Ledger(Protocol):
    """Enters requests in all of some accounts or in none, one after the other, so that no limit is ever exceeded."""

    @property
    def is_busy(self) -> bool:
        """Whether what is asked now waits first, for others or a connection, instead of being on its way at once."""
        ...

    async def begin(self, request: str, accounts: Sequence[Account]) -> Refusal | None:
        """Enters a request, without tokens, which is concurrent from now on; None if that is done.

        Args:
          request: names it, unlike any other.
          accounts: whose requests and concurrent requests it is one of.
        """
        ...

    async def reserve(self, request: str, accounts: Sequence[Account], tokens: int) -> Refusal | None:
        """Enters the most tokens that a request may take, in place of what was entered; None if that is done."""
        ...

    async def end(self, request: str, accounts: Sequence[Account], tokens: int | None) -> None:
        """Enters the tokens that a request took after all; it is no longer concurrent.

        Args:
          request: as in `begin`.
          accounts: as in `begin`.
          tokens: None has it leave the accounts as if it had never come.
        """
        ...
