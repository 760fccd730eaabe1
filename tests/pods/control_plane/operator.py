"""KubeRay's operator, as far as a RayService on one node has need of it."""

import asyncio
from collections.abc import Iterator

from tests.helm.chart import Object
from tests.pods.control_plane import kuberay
from tests.pods.control_plane.cluster import Cluster
from tests.pods.node.node import Node

_ROUND_S = 2.0
"""As KubeRay's."""


class Operator:
    """Makes what a RayService says, in place or by a new cluster.

    Attributes:
      active: the cluster that serves.
      pending: the one that is to take its place.
      settled: whether what was applied last runs.
    """

    def __init__(self, node: Node, deletion_delay_s: float) -> None:
        """Nothing runs yet. A cluster goes `deletion_delay_s` after another has taken its place."""
        self.active: Cluster | None = None
        self.pending: Cluster | None = None
        self.settled = False
        self._deletion_delay_s = deletion_delay_s
        self._node = node
        self._service: Object | None = None
        self._old: list[Cluster] = []

    def clusters(self) -> Iterator[Object]:
        """The RayClusters that there are."""
        return (cluster.resource for cluster in self._there())

    def apply(self, service: Object) -> None:
        """Has a RayService be what is wanted."""
        self._service = service
        self.settled = False

    @property
    def alone(self) -> bool:
        """Whether there is no cluster but the one that serves."""
        return self.pending is None and not self._old

    async def run(self) -> None:
        """Reconciles until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                if self._service is not None:
                    await self._reconcile(self._service, group)
                await asyncio.sleep(_ROUND_S)

    def describe(self) -> str:
        """How far it is, a line for each cluster."""
        return "\n".join(cluster.describe() for cluster in self._there())

    def _there(self) -> list[Cluster]:
        return [each for each in (self.active, self.pending, *self._old) if each is not None]

    async def _reconcile(self, service: Object, group: asyncio.TaskGroup) -> None:
        target = self.pending or self.active
        if target is None or target.compared != kuberay.compared(service):
            target = self.pending = Cluster(self._node, service)
        for cluster in self._there():
            cluster.reconcile()
        runs = await target.serve(service["spec"]["serveConfigV2"])
        if runs and target is self.pending:
            old, self.active, self.pending = self.active, target, None
            if old is not None:
                self._old.append(old)
                group.create_task(self._retire(old))
        self.settled = runs

    async def _retire(self, cluster: Cluster) -> None:
        await asyncio.sleep(self._deletion_delay_s)
        self._old.remove(cluster)
        cluster.delete()
