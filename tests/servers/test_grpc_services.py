"""The list of gRPC services that HAProxy lets through."""

from collections.abc import Sequence
from typing import Any

import grpc

from serving.gateway.grpc.servicers import add_services
from serving.servers.grpc_services import GRPC_SERVICES


class _Registry:
    def __init__(self) -> None:
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self.services += [handler.service_name() for handler in handlers]

    def add_registered_method_handlers(
        self, service: str, handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        pass


def test_it_has_the_services_of_the_server_and_no_other() -> None:
    registry: Any = _Registry()
    add_services(object_with_every_method(), registry)
    assert sorted(registry.services) == sorted(GRPC_SERVICES)


def object_with_every_method() -> Any:
    class Servicer:
        def __getattr__(self, name: str) -> object:
            return lambda request, context: None

    return Servicer()
