"""Access that refuses everybody, as if every key were wrong."""

from serving.errors import Reason, ServingError
from serving.gateway.access import Caller


class NobodyMayAsk:
    """Implements `Access`."""

    async def caller(self, *_: object, **__: object) -> Caller:
        raise ServingError(Reason.UNAUTHENTICATED, "No.")
