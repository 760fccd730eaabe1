"""Every way a request can fail, and how each protocol says it: the one table for HTTP and gRPC."""

from dataclasses import dataclass
from enum import StrEnum

import grpc

ERROR_DOMAIN = "codegemma.v1"


class Reason(StrEnum):
    """Why a request failed: `ErrorInfo.reason` in gRPC in upper case, `error.code` in HTTP in lower case."""

    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    INVALID_ARGUMENT = "invalid_argument"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    MALFORMED_BODY = "malformed_body"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    MODEL_NOT_FOUND = "model_not_found"
    ROLE_NOT_SERVED = "role_not_served"
    ROUTE_NOT_FOUND = "route_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RATE_LIMITED = "rate_limit_exceeded"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    SUPERSEDED = "superseded"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class WireError:
    """How one reason looks on each wire.

    Attributes:
      http_status: the HTTP status.
      openai_type: `error.type` of the OpenAI error body.
      grpc_code: the canonical gRPC code.
      retryable: whether the same request may succeed later; says whether a retry hint is sent.
    """

    http_status: int
    openai_type: str
    grpc_code: grpc.StatusCode
    retryable: bool = False


_BAD_REQUEST = "invalid_request_error"
_SERVER = "server_error"

WIRE_ERRORS: dict[Reason, WireError] = {
    Reason.UNAUTHENTICATED: WireError(401, "authentication_error", grpc.StatusCode.UNAUTHENTICATED),
    Reason.PERMISSION_DENIED: WireError(403, "permission_error", grpc.StatusCode.PERMISSION_DENIED),
    Reason.INVALID_ARGUMENT: WireError(400, _BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.UNSUPPORTED_PARAMETER: WireError(400, _BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.CONTEXT_LENGTH_EXCEEDED: WireError(400, _BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.MALFORMED_BODY: WireError(400, _BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.BODY_TOO_LARGE: WireError(413, _BAD_REQUEST, grpc.StatusCode.RESOURCE_EXHAUSTED),  # what gRPC itself says
    Reason.REQUEST_TIMEOUT: WireError(408, _BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.MODEL_NOT_FOUND: WireError(404, _BAD_REQUEST, grpc.StatusCode.NOT_FOUND),
    Reason.ROLE_NOT_SERVED: WireError(400, _BAD_REQUEST, grpc.StatusCode.FAILED_PRECONDITION),
    Reason.ROUTE_NOT_FOUND: WireError(404, _BAD_REQUEST, grpc.StatusCode.UNIMPLEMENTED),
    Reason.METHOD_NOT_ALLOWED: WireError(405, _BAD_REQUEST, grpc.StatusCode.UNIMPLEMENTED),
    Reason.RATE_LIMITED: WireError(429, "rate_limit_error", grpc.StatusCode.RESOURCE_EXHAUSTED, retryable=True),
    Reason.OVERLOADED: WireError(429, "rate_limit_error", grpc.StatusCode.RESOURCE_EXHAUSTED, retryable=True),
    Reason.UNAVAILABLE: WireError(503, _SERVER, grpc.StatusCode.UNAVAILABLE, retryable=True),
    Reason.DEADLINE_EXCEEDED: WireError(504, _SERVER, grpc.StatusCode.DEADLINE_EXCEEDED),
    Reason.SUPERSEDED: WireError(409, _BAD_REQUEST, grpc.StatusCode.ABORTED),
    Reason.INTERNAL: WireError(500, _SERVER, grpc.StatusCode.INTERNAL),
}


class ServingError(Exception):
    """A failure that the client is told about.

    Attributes:
      reason: why; decides status and code on each wire.
      message: names the field, the value and the remedy.
      field: the request field at fault, in the words of the wire it came by (`max_tokens`, `messages[2].role`).
      retry_after_s: when to try again, for retryable reasons.
    """

    def __init__(
        self, reason: Reason, message: str, field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, message, field, retry_after_s)  # all of them: pickling rebuilds from `args`
        self.reason = reason
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message

    @property
    def wire(self) -> WireError:
        """How this error looks on each wire."""
        return WIRE_ERRORS[self.reason]


def error_body(error: ServingError) -> dict[str, object]:
    """The OpenAI error object."""
    return {
        "error": {
            "message": error.message,
            "type": error.wire.openai_type,
            "param": error.field,
            "code": error.reason,
        }
    }
