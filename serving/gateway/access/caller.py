"""Caller: who asks."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from serving.config import Role
from serving.models.adapted_id import AllowedAdapters


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
      tenant: for whom its requests are; empty if unknown.
      owner: whose its sessions and what is cached of its prompts are: its tenant's, or those of its key alone if that
        has no tenant.
      roles: what it may ask for.
      key: the name of its key, or of its token's holder; empty where no key is needed.
      adapters: that it may use.
    """

    tenant: str
    owner: str
    roles: frozenset[Role]
    key: str = ""
    adapters: AllowedAdapters = None


def tenant_owner(tenant: str) -> str:
    """The `owner` that a tenant's callers have in common, with a prefix: a tenant may have the name of a key's id."""
    return f"tenant:{tenant}"


@lru_cache(maxsize=64)  # few, but for hostile ones
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address: an IP address or a host name."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    # A socket for both versions of IP shows 127.0.0.1 as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
