"""Every way a request can fail, and how each protocol says it: the one table for HTTP and gRPC."""

from collections.abc import Mapping
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
    NOT_IMPLEMENTED = "not_implemented"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
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
      grpc_code: the canonical gRPC code.
      retryable: whether the same request may succeed later; says whether a retry hint is sent.
    """

    http_status: int
    grpc_code: grpc.StatusCode
    retryable: bool = False


WIRE_ERRORS: dict[Reason, WireError] = {
    Reason.UNAUTHENTICATED: WireError(401, grpc.StatusCode.UNAUTHENTICATED),
    Reason.PERMISSION_DENIED: WireError(403, grpc.StatusCode.PERMISSION_DENIED),
    Reason.INVALID_ARGUMENT: WireError(400, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.UNSUPPORTED_PARAMETER: WireError(400, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.CONTEXT_LENGTH_EXCEEDED: WireError(400, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.MALFORMED_BODY: WireError(400, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.BODY_TOO_LARGE: WireError(413, grpc.StatusCode.RESOURCE_EXHAUSTED),  # what gRPC itself says
    Reason.REQUEST_TIMEOUT: WireError(408, grpc.StatusCode.INVALID_ARGUMENT),
    Reason.MODEL_NOT_FOUND: WireError(404, grpc.StatusCode.NOT_FOUND),
    Reason.ROLE_NOT_SERVED: WireError(400, grpc.StatusCode.FAILED_PRECONDITION),
    Reason.ROUTE_NOT_FOUND: WireError(404, grpc.StatusCode.UNIMPLEMENTED),
    Reason.METHOD_NOT_ALLOWED: WireError(405, grpc.StatusCode.UNIMPLEMENTED),
    Reason.NOT_IMPLEMENTED: WireError(501, grpc.StatusCode.UNIMPLEMENTED),
    Reason.RATE_LIMIT_EXCEEDED: WireError(429, grpc.StatusCode.RESOURCE_EXHAUSTED, retryable=True),
    Reason.OVERLOADED: WireError(429, grpc.StatusCode.RESOURCE_EXHAUSTED, retryable=True),
    Reason.UNAVAILABLE: WireError(503, grpc.StatusCode.UNAVAILABLE, retryable=True),
    Reason.DEADLINE_EXCEEDED: WireError(504, grpc.StatusCode.DEADLINE_EXCEEDED),
    Reason.SUPERSEDED: WireError(409, grpc.StatusCode.ABORTED),
    Reason.INTERNAL: WireError(500, grpc.StatusCode.INTERNAL),
}


class ServingError(Exception):
    """A failure that is reported to the client.

    Attributes:
      reason: why; decides status and code on each wire.
      message: sentences for people.
      retry_after_s: when to try again, for retryable reasons.
    """

    def __init__(self, reason: Reason, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason, message, retry_after_s)  # all of them: pickling rebuilds from `args`
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message

    @property
    def field(self) -> str | None:
        """The request field at fault, if it is one: `max_tokens`, `messages[2].role`."""
        return None

    @property
    def wire(self) -> WireError:
        """How this error looks on each wire."""
        return WIRE_ERRORS[self.reason]

    def in_words(self, words: Mapping[str, str]) -> "ServingError":
        """The error for the clients of an API that calls some fields otherwise: name here -> name there."""
        return self


class FieldError(ServingError):
    """A field that cannot be as it is. Its message is the field and the fault: `choices` and `is 9; send 1 to 8.`.

    Attributes:
      name: the field; of a `CodeRequest`, or already in the words of the wire.
      place: where in the field: `[2].role`; empty for all of it.
      fault: what is wrong with it, its value, and the remedy.
    """

    def __init__(self, reason: Reason, name: str, fault: str, place: str = "") -> None:
        super().__init__(reason, f"{name}{place} {fault}")
        self.args = (reason, name, fault, place)
        self.name = name
        self.fault = fault
        self.place = place

    @property
    def field(self) -> str:
        """Name and place."""
        return f"{self.name}{self.place}"

    def in_words(self, words: Mapping[str, str]) -> "FieldError":
        """As `ServingError.in_words`, in the message too."""
        return FieldError(self.reason, words.get(self.name, self.name), self.fault, self.place)


def unforeseen(request_id: str) -> ServingError:
    """What the client gets for an unexpected error; the log has the details."""
    return ServingError(Reason.INTERNAL, f"The server failed on request {request_id}; its log says more.")
