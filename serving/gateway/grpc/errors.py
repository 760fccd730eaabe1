"""Rich gRPC errors: a canonical code, and what happened as google.rpc details (https://google.aip.dev/193)."""

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from serving.errors import ERROR_DOMAIN, ServingError
from serving.gateway.quotas import QuotaError

STATUS_KEY = "grpc-status-details-bin"
"""The trailing metadata that carries a `google.rpc.Status`."""

# Trailing metadata beyond 8 KiB is refused by default in gRPC, and there a message counts several times: as
# percent-encoded `grpc-message` and, in base64, as status and as field violation.
_MAX_MESSAGE_BYTES = 1024
_DEFAULT_RETRY_S = 1.0


def rich_status(error: ServingError) -> Status:
    """The error as google.rpc.Status: ErrorInfo always, BadRequest for a field at fault, RetryInfo for a retry,
    QuotaFailure for a limit.

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
    if isinstance(error, QuotaError):
        violated = QuotaFailure.Violation(subject=error.whose, description=message)
        status.details.add().Pack(QuotaFailure(violations=[violated]))
    return status
