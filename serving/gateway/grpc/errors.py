"""Rich gRPC errors: a canonical code, and what happened as google.rpc details (https://google.aip.dev/193)."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol
from urllib.parse import unquote

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from serving.errors import ERROR_DOMAIN, Reason, ServingError
from serving.gateway.grpc.servicers import MalformedMessage
from serving.request_id import REQUEST_ID_HEADER, is_request_id, request_id_of

_STATUS_KEY = "grpc-status-details-bin"
# Trailing metadata beyond 8 KiB is refused by default in gRPC, and there a message counts several times: as
# percent-encoded `grpc-message` and, in base64, as status and as field violation.
_MAX_MESSAGE_BYTES = 1024
_DEFAULT_RETRY_S = 1.0

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log


class GrpcContext(Protocol):
    """What the methods use of a call: Ray Serve's `RayServegRPCContext` has it, and so has `grpc.aio`'s context."""

    def peer(self) -> str: ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...

    def set_code(self, code: grpc.StatusCode) -> None: ...

    def set_details(self, details: str) -> None: ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None: ...


def from_metadata(context: GrpcContext, *keys: str) -> str:
    """The value of the first of these metadata keys that the client sent, or an empty string."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    return next((metadata[key] for key in keys if metadata.get(key)), "")


def peer_address(context: GrpcContext) -> str:
    """The IP address at the other end of the call's connection; empty for one that has none, as a Unix socket.

    gRPC writes `ipv4:127.0.0.1:5000`, and `ipv6:[::1]:5000` with the brackets as %5B and %5D
    (https://github.com/grpc/grpc/blob/master/doc/naming.md).
    """
    family, _, address = unquote(context.peer()).partition(":")
    return address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""


@contextmanager
def answering(context: GrpcContext, message: object) -> Iterator[str]:
    """Names the call and turns what goes wrong in it into its status; nothing is raised but cancellation.

    The handler has to return normally after an error: Ray Serve drops the details of one that raises.

    Args:
      context: the call.
      message: the request; its `request_id`, or else the one in the call's metadata, names the call.

    Yields:
      The request id, which the client gets back in the trailing metadata; made here if the client sent none.
    """
    request_id = request_id_of(_client_request_id(context, message))
    context.set_trailing_metadata([(REQUEST_ID_HEADER, request_id)])
    try:
        yield request_id
    except ServingError as error:
        _report(context, error, request_id)
    except Exception:
        _log.exception("Request %s failed.", request_id)
        explanation = f"The server failed on this request. Its log says more under the request id {request_id}."
        _report(context, ServingError(Reason.INTERNAL, explanation), request_id)


def check_call(context: GrpcContext, message: object) -> None:
    """Refuses what could not be parsed as the method's request type, and a request id that nobody may have.

    Raises:
      ServingError: MALFORMED_BODY; INVALID_ARGUMENT.
    """
    if isinstance(message, MalformedMessage):
        raise ServingError(
            Reason.MALFORMED_BODY,
            f"The request is not a message of the method's type: {message.fault}. "
            "Send one that was serialised from the .proto files of this server; strings have to be UTF-8.",
        )
    named = _client_request_id(context, message)
    if named and not is_request_id(named):
        raise ServingError(
            Reason.INVALID_ARGUMENT,
            f"request_id has {len(named)} characters, and more than 128 or one that could be taken for another part of "
            "a log line. Send 1 to 128 ASCII letters, digits and any of . _ ~ : / + @ -, or none.",
            field="request_id",
        )


def _client_request_id(context: GrpcContext, message: object) -> str:
    return getattr(message, "request_id", "") or from_metadata(context, REQUEST_ID_HEADER, "request_id")


def _report(context: GrpcContext, error: ServingError, request_id: str) -> None:
    status = rich_status(error)
    context.set_code(error.wire.grpc_code)
    context.set_details(status.message)
    context.set_trailing_metadata([(REQUEST_ID_HEADER, request_id), (_STATUS_KEY, status.SerializeToString())])


def rich_status(error: ServingError) -> Status:
    """The error as google.rpc.Status: ErrorInfo always, BadRequest for a field at fault, RetryInfo for a retry.

    Args:
      error: `field` is a path in the request message.
    """
    code: int = error.wire.grpc_code.value[0]
    message = error.message.encode(errors="replace")[:_MAX_MESSAGE_BYTES].decode(errors="ignore")
    status = Status(code=code, message=message)
    status.details.add().Pack(ErrorInfo(reason=error.reason.upper(), domain=ERROR_DOMAIN))
    if error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=message)
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    if error.wire.retryable:
        delay = Duration()
        delay.FromNanoseconds(round((error.retry_after_s or _DEFAULT_RETRY_S) * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status
