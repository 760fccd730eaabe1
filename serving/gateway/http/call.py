"""HttpCall: an HTTP request of an admitted caller."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serving.gateway.access import Caller
from serving.gateway.call_metadata import CallMetadata
from serving.gateway.http.json_body import read_json
from serving.gateway.request import CodeRequest
from serving.gateway.service import CodeService, ModelInfo


@dataclass(frozen=True)
class HttpCall:
    """What a handler sees of a request.

    Attributes:
      service: answers it.
      metadata: its headers.
      caller: who asks.
      path_params: what stands in the path for the names in the route's.
      query: what comes after the path.
      read_body: reads its body, once, within the limits of the gateway.
    """

    service: CodeService
    metadata: CallMetadata
    caller: Caller
    path_params: Mapping[str, str]
    query: Mapping[str, str]
    read_body: Callable[[], Awaitable[bytes | bytearray]]

    async def json[T](self, interpret: Callable[[dict[str, Any]], T]) -> T:
        """What the body says, which must be a JSON object.

        Args:
          interpret: called with the object; raises `ServingError` or pydantic's `ValidationError`. Runs in a thread if
            the body is large.

        Raises:
          ServingError: BODY_TOO_LARGE; REQUEST_TIMEOUT; as `read_json`.
        """
        return await read_json(await self.read_body(), interpret)

    def models(self) -> tuple[ModelInfo, ...]:
        """The models that the caller may use, as `CodeService.models`."""
        return self.service.models(self.caller.adapters)

    async def model(self, name: str) -> ModelInfo:
        """One of them, as `CodeService.model`."""
        return await self.service.model(name, self.caller.adapters)

    def applied(self, request: CodeRequest) -> CodeRequest:
        """The request as this call's. Those of a `Generation` become it anyway."""
        return self.metadata.applied(request, self.caller)
