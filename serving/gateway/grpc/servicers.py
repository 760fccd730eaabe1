"""The gRPC services of this server, as Ray Serve registers them (`grpc_options.grpc_servicer_functions`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from codegemma.v1.code_assist_service_pb2_grpc import add_CodeAssistServiceServicer_to_server
from codegemma.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from serving.errors import ServingError
from serving.gateway.grpc.wire_limits import check_fields


@dataclass(frozen=True, slots=True)
class MalformedMessage:
    """Arrives at a method in place of a request that is not a message of its type."""

    fault: str


def add_services(servicer: Any, server: grpc.Server) -> None:
    """Register every service of this server.

    A message that cannot be parsed reaches the method as `MalformedMessage`: gRPC itself would answer UNKNOWN with
    the name of a Python exception.
    """
    tolerant: Any = _TolerantRegistry(server)
    for add in (
        add_CodeAssistServiceServicer_to_server,
        add_ModelServiceServicer_to_server,
        add_HealthServicer_to_server,
        add_ServerReflectionServicer_to_server,
    ):
        add(servicer, tolerant)


class _TolerantRegistry:
    """Passes method handlers on to a server with deserializers that do not raise."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Nothing: the same handlers come by `add_registered_method_handlers`, which names their service."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        tolerant = {
            name: handler._replace(request_deserializer=_tolerant(handler.request_deserializer, _kind(service, name)))
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, tolerant),))


def _kind(service: str, method: str) -> Descriptor:
    found: Descriptor = descriptor_pool.Default().FindMethodByName(f"{service}.{method}").input_type
    return found


def _tolerant(parse: Callable[[bytes], object], kind: Descriptor) -> Callable[[bytes], object]:
    def parse_or_explain(data: bytes) -> object:
        try:
            check_fields(data, kind)
            return parse(data)
        except (DecodeError, ServingError) as error:
            return MalformedMessage(str(error))

    return parse_or_explain
