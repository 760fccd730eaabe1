"""The gRPC services of this server, as Ray Serve registers them (`grpc_options.grpc_servicer_functions`)."""

from collections.abc import Sequence
from typing import Any

import grpc
from codegemma.v1.code_assist_service_pb2_grpc import add_CodeAssistServiceServicer_to_server
from codegemma.v1.feedback_service_pb2_grpc import add_FeedbackServiceServicer_to_server
from codegemma.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from serving.gateway.grpc.reflection import of_v1


def add_services(servicer: Any, server: grpc.Server | grpc.aio.Server) -> None:
    """Register every service of this server.

    Messages reach the methods as they came, in bytes: a method first looks at who calls, and says better what is wrong
    with a message than gRPC, whose answer is UNKNOWN and the name of a Python exception.
    """
    as_bytes: Any = _BytesRegistry(server)
    for add in (
        add_CodeAssistServiceServicer_to_server,
        add_FeedbackServiceServicer_to_server,
        add_ModelServiceServicer_to_server,
        add_HealthServicer_to_server,
        add_ServerReflectionServicer_to_server,
    ):
        add(servicer, as_bytes)


class _BytesRegistry:
    """Passes method handlers on to a server without their deserializers, those of reflection for both its versions."""

    def __init__(self, server: grpc.Server | grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Nothing: the same handlers come by `add_registered_method_handlers`, which names their service."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        as_bytes = {name: handler._replace(request_deserializer=None) for name, handler in handlers.items()}
        for name in sorted({service, of_v1(service)}):
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, as_bytes),))
