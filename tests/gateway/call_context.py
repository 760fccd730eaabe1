"""The context of a gRPC call, as Ray Serve gives it to a Gateway."""

import grpc


class CallContext:
    """Implements `GrpcContext`, and keeps how the call ended.

    Attributes:
      code: None until the call has failed.
      details: what its client is told of that.
    """

    def __init__(self, peer: str = "ipv4:127.0.0.1:4") -> None:
        self._peer = peer
        self.code: grpc.StatusCode | None = None
        self.details = ""

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None:
        pass
