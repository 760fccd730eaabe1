"""This machine as the one node of a cluster: it runs pods that others specify."""

import asyncio
import itertools
import secrets
import string
from collections.abc import Mapping

from tests.helm.chart import Object
from tests.pods.node.image import Image
from tests.pods.node.network import HOST, NUMBERS, address
from tests.pods.node.pod import Pod

_LETTERS = string.ascii_lowercase + string.digits


def suffix() -> str:
    """Five letters and digits, as Kubernetes draws them for names."""
    return "".join(secrets.choice(_LETTERS) for _ in range(5))


class Node:
    """Runs pods.

    Attributes:
      pods: that there are, also those that are about to end.
      gone: those that are no more.
      secrets: contents by name, to be added to.
      tokens: of service accounts, to be added to.
    """

    def __init__(
        self, tasks: asyncio.TaskGroup, image: Image, config_maps: Mapping[str, Mapping[str, str]], api_port: int
    ) -> None:
        """A node without pods.

        Args:
          tasks: what goes on here belongs to them.
          image: of all containers.
          config_maps: that pods mount.
          api_port: where the API server listens.
        """
        self.pods: list[Pod] = []
        self.gone: list[Pod] = []
        self.secrets: dict[str, Mapping[str, str]] = {}
        self.tokens: dict[str, Mapping[str, str]] = {}
        self._image = image
        self._config_maps = config_maps
        self._numbers = itertools.cycle(NUMBERS)
        self._tasks = tasks
        # On a cluster each pod that starts has the processors that it requests. Here they start one after another: Ray
        # ends a node whose agent takes more than 15 s to start (ray-project/ray#65983).
        self._turn = asyncio.Lock()
        self._variables = {
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": str(api_port),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(api_port),
        }

    def run(self, specification: Object, hosts: Mapping[str, str]) -> Pod:
        """Starts a pod that knows these names; returns at once."""
        taken = {pod.ip for pod in self.pods}
        number = next(number for number in self._numbers if address(number) not in taken)
        pod = Pod(
            specification,
            number,
            self._image,
            self._turn,
            hosts=hosts,
            variables=self._variables,
            secrets=self.secrets,
            config_maps=self._config_maps,
            tokens=self.tokens,
        )
        self.pods.append(pod)
        self._tasks.create_task(pod.live())
        return pod

    def delete(self, pod: Pod, *, grace: bool = True) -> None:
        """Has a pod end, as `kubectl delete pod` does, or without a grace period; returns at once."""
        if not pod.terminating:
            pod.terminating = True
            self._tasks.create_task(self._end(pod, grace))

    def kill(self) -> None:
        """Ends all pods at once."""
        for pod in self.pods:
            pod.kill()

    async def _end(self, pod: Pod, grace: bool) -> None:
        await (pod.delete() if grace else pod.end())
        pod.remove()
        self.pods.remove(pod)
        self.gone.append(pod)
