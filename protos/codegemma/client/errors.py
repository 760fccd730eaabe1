"""ApiError and its kinds: a failed call, with what the server says of it (https://google.aip.dev/193)."""

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status


class ApiError(Exception):
    """A call failed. The class of its code, if there is one, is a subclass of this.

    Attributes:
      code: the canonical gRPC code.
      message: names the field, the value and the remedy.
      reason: why, in upper case, such as MODEL_NOT_FOUND: docs/errors.md lists them. Empty where something between
        here and the server failed the call.
      field: the path of the request field at fault, such as `generation_config.max_tokens`; empty if none is.
      retry_delay: seconds after which the same request may succeed; None if the server does not say so.
      request_id: names the request in the server's log; empty if the server did not answer.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        field: str = "",
        retry_delay: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(code, message, reason, field, retry_delay, request_id)
        self.code = code
        self.message = message
        self.reason = reason
        self.field = field
        self.retry_delay = retry_delay
        self.request_id = request_id

    def __str__(self) -> str:
        return self.message or self.code.name


class InvalidArgumentError(ApiError):
    """A field of the request is wrong."""


class UnauthenticatedError(ApiError):
    """The server wants an API key, or does not know this one."""


class PermissionDeniedError(ApiError):
    """This key may not ask for this."""


class NotFoundError(ApiError):
    """There is no such model."""


class FailedPreconditionError(ApiError):
    """The model does not do this."""


class ResourceExhaustedError(ApiError):
    """The server has too much to do, or the caller asked too often; or the message is too large."""


class UnavailableError(ApiError):
    """The server cannot be reached, or a part of it was lost. The call was tried several times if nothing had come."""


class DeadlineExceededError(ApiError):
    """The answer was not complete in time."""


class AbortedError(ApiError):
    """A newer request of the same session took the place of this one."""


class CancelledError(ApiError):
    """Something other than the caller ended the call: the connection was lost, or the client closed. Ask again."""


class UnimplementedError(ApiError):
    """The server does not know the method."""


class InternalError(ApiError):
    """The server failed on this request; its log says more under `request_id`."""


_KINDS: dict[grpc.StatusCode, type[ApiError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def api_error(error: grpc.RpcError) -> ApiError:
    """The typed error of what a call of `grpc` or `grpc.aio` raised."""
    trailing: Any = error.trailing_metadata() or ()
    metadata: dict[str, Any] = dict(trailing)
    code: grpc.StatusCode = error.code()
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for packed in _status(metadata.get("grpc-status-details-bin", b"")).details:
        for kind in (info, bad_request, retry):
            packed.Unpack(kind)
    return _KINDS.get(code, ApiError)(
        code,
        error.details() or "",
        reason=info.reason,
        field=next((violation.field for violation in bad_request.field_violations), ""),
        retry_delay=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
        request_id=metadata.get("x-request-id", ""),
    )


def _status(serialized: bytes) -> Status:
    try:
        return Status.FromString(serialized)
    except DecodeError:  # a proxy's own
        return Status()
