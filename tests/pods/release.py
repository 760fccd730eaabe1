"""A release of the chart on this machine: node, API server, operator and Services."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.access.keys import KeyFile
from serving.config import Role
from tests.pods.control_plane import api_server
from tests.pods.control_plane.api_server import ApiServer
from tests.pods.control_plane.operator import Operator
from tests.pods.control_plane.service import Service
from tests.pods.manifest import Manifest
from tests.pods.node.image import Image
from tests.pods.node.node import Node
from tests.pods.node.pod import Pod

_KEYS_SECRET = "codegemma-keys"


@dataclass(frozen=True)
class Release:
    """A release that runs.

    Attributes:
      node: its pods.
      operator: what makes them of the RayService.
      http: the Service of HTTP.
      grpc: the Service of gRPC.
      key: an API key that opens it.
    """

    node: Node
    operator: Operator
    http: Service
    grpc: Service
    key: str

    def gateways(self) -> list[Pod]:
        """The gateway pods that are not about to end."""
        return [pod for pod in self.node.pods if pod.labels["ray.io/group"] == "gateway" and not pod.terminating]


@asynccontextmanager
async def running(manifest: Manifest, image: Image, deletion_delay_s: float) -> AsyncIterator[Release]:
    """All parts of a release, before a RayService is applied.

    Args:
      manifest: the chart's objects.
      image: of all containers.
      deletion_delay_s: how long a Ray cluster stays after another has taken its place.
    """
    file, key = KeyFile().with_new("pods", "", tuple(Role))
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks, image, manifest.config_maps, api_server.PORT)
        operator = Operator(node, deletion_delay_s)
        api = ApiServer(secrets.token_urlsafe(), operator.clusters, lambda: node.pods)
        node.secrets[_KEYS_SECRET] = {"keys.yaml": file.dump()}
        account = manifest.ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
        node.tokens[account["serviceAccountName"]] = {
            "token": api.token,
            "ca.crt": api.certificate,
            "namespace": manifest.ray_service["metadata"]["namespace"],
        }
        http, grpc = (Service(manifest.services[f"codegemma-{name}"], lambda: node.pods) for name in ("http", "grpc"))
        async with api.serves(), http.serves(), grpc.serves():
            reconciling = tasks.create_task(operator.run())
            try:
                yield Release(node, operator, http, grpc, key)
            finally:
                reconciling.cancel()
                node.kill()
