"""One gRPC call: who is at its other end, what it is named, its message, and how it ends."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from serving.errors import FieldError, Reason, ServingError, unforeseen
from serving.gateway.call_metadata import CallMetadata
from serving.gateway.grpc.errors import STATUS_KEY, rich_status
from serving.gateway.grpc.wire_limits import check_fields
from serving.request_id import REQUEST_ID_HEADER, is_request_id
from serving.servers.grpc_server import Received

_log = logging.getLogger("ray.serve.gateway")  # below Ray Serve's logger, whose handlers write the log


class GrpcContext(Protocol):
    """What the methods use of a call: Ray Serve's `RayServegRPCContext` has it, and so has `grpc.aio`'s context."""

    def peer(self) -> str: ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...

    def set_code(self, code: grpc.StatusCode) -> None: ...

    def set_details(self, details: str) -> None: ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None: ...


class Call:
    """A call and its name.

    Attributes:
      metadata: what came with it. Its request id goes back in the trailing metadata; the message may say another.
      words: what the message calls fields of its request, for errors.
    """

    def __init__(self, context: GrpcContext) -> None:
        self._context = context
        self.metadata = CallMetadata.read("grpc", _value(context), _peer_address(context))
        self.words: Mapping[str, str] = {}
        self._answer_with_request_id()

    def message[M: Message](self, kind: type[M], data: Received, max_bytes: int | None = None) -> M:
        """The request's message, which may name the call anew.

        Args:
          kind: the method's request type.
          data: as it came.
          max_bytes: of its data. A server whose limit this is has refused larger ones before.

        Raises:
          ServingError: why there is no message; MALFORMED_BODY; BODY_TOO_LARGE; INVALID_ARGUMENT for a request id
            that is not allowed.
        """
        if isinstance(data, ServingError):
            raise data
        if max_bytes is not None and len(data) > max_bytes:
            raise ServingError(
                Reason.BODY_TOO_LARGE,
                f"The request has {len(data)} bytes; the limit here is {max_bytes}. Send less.",
            )
        check_fields(data, kind)
        try:
            message = kind.FromString(data)
        except DecodeError as error:
            raise ServingError(
                Reason.MALFORMED_BODY,
                f"The request is not a message of the method's type: {error}. "
                "Send one that was serialised from the .proto files of this server; strings have to be UTF-8.",
            ) from None
        self.metadata = replace(self.metadata, route=kind.DESCRIPTOR.name.removesuffix("Request"))
        if named := getattr(message, "request_id", ""):
            if not is_request_id(named):
                raise FieldError(
                    Reason.INVALID_ARGUMENT,
                    "request_id",
                    f"has {len(named)} characters, and more than 128 or one that could be taken for another part of a "
                    "log line. Send 1 to 128 ASCII letters, digits and any of . _ ~ : / + @ -, or none.",
                )
            self.metadata = replace(self.metadata, request_id=named)
            self._answer_with_request_id()
        return message

    def fail(self, error: ServingError) -> None:
        """Makes the error the call's status."""
        status = rich_status(error.in_words(self.words))
        self._context.set_code(error.wire.grpc_code)
        self._context.set_details(status.message)
        self._context.set_trailing_metadata(
            [(REQUEST_ID_HEADER, self.metadata.request_id), (STATUS_KEY, status.SerializeToString())]
        )

    def _answer_with_request_id(self) -> None:
        self._context.set_trailing_metadata([(REQUEST_ID_HEADER, self.metadata.request_id)])


@contextmanager
def answering(context: GrpcContext) -> Iterator[Call]:
    """Turns what goes wrong in a call into its status; nothing is raised but cancellation.

    The handler has to return normally after an error: Ray Serve drops the details of one that raises.
    """
    call = Call(context)
    try:
        yield call
    except ServingError as error:
        call.fail(error)
    except Exception:
        request_id = call.metadata.request_id
        _log.exception("Request %s failed.", request_id)
        call.fail(unforeseen(request_id))


def _value(context: GrpcContext) -> Callable[[str], str]:
    """Gives the first value of a metadata key that is text, or an empty string if the client sent none."""
    sent = reversed(tuple(context.invocation_metadata() or ()))
    values = {key: value for key, value in sent if isinstance(value, str)}
    return lambda key: values.get(key, "")


def _peer_address(context: GrpcContext) -> str:
    """The IP address at the other end of the call's connection; empty for one that has none, as a Unix socket.

    gRPC writes `ipv4:127.0.0.1:5000`, and `ipv6:[::1]:5000` with the brackets as %5B and %5D
    (https://github.com/grpc/grpc/blob/master/doc/naming.md).
    """
    family, _, address = unquote(context.peer()).partition(":")
    return address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""
