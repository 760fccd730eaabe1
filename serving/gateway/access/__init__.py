"""Access: who may ask, by the API key or the token that comes with a request over either protocol."""

from serving.gateway.access.access import Access, LocalAccess, OpenAccess, access_for
from serving.gateway.access.bearer import BearerAccess
from serving.gateway.access.caller import Caller, is_loopback

__all__ = ["Access", "BearerAccess", "Caller", "LocalAccess", "OpenAccess", "access_for", "is_loopback"]
