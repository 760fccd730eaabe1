"""A RayCluster that runs, as KubeRay's operator keeps it: its head, its workers, and what Ray Serve deploys there."""

import secrets
from collections.abc import Awaitable
from typing import Any

import httpx
import yaml

from tests.helm.chart import Object
from tests.pods.control_plane import kuberay
from tests.pods.node.node import Node, suffix
from tests.pods.node.pod import Phase, Pod

_TIMEOUT_S = 10.0
_APPLICATIONS = "/api/serve/applications/"


class LostHeadError(Exception):
    """A head that ended while its cluster served."""


class Cluster:
    """A RayCluster and its pods.

    Attributes:
      resource: the RayCluster, which Ray's autoscaler changes.
      compared: by what the operator knows it from another.
    """

    def __init__(self, node: Node, service: Object) -> None:
        """Creates the head's pod; `reconcile` creates the others."""
        self.resource = kuberay.ray_cluster(service, suffix())
        self.compared = kuberay.compared(service)
        self.name: str = self.resource["metadata"]["name"]
        self._node = node
        self._submitted: str | None = None
        self._state: dict[str, str] = {}
        name, secret = kuberay.auth_secret(self.resource, secrets.token_urlsafe())
        node.secrets[name] = secret
        self._headers = {"x-ray-authorization": f"Bearer {secret['auth_token']}"}
        self.head = self._start_head()

    def pods(self, group: str | None = None) -> list[Pod]:
        """Its pods, or those of a group, also those that are about to end."""
        own = [each for each in self._node.pods if each.labels["ray.io/cluster"] == self.name]
        return [each for each in own if group is None or each.labels["ray.io/group"] == group]

    def reconcile(self) -> None:
        """Creates the pods that are missing, and deletes those that have failed or that the autoscaler names.

        Raises:
          LostHeadError: the head has ended after it was ready.
        """
        if self.head.phase in (Phase.FAILED, Phase.SUCCEEDED) and not self.head.terminating:
            if self.head.was_ready:
                raise LostHeadError(f"{self.head.name} ended: {self.head.failure}")
            for pod in self.pods():  # without a head the workers end as well, a minute later
                self._node.delete(pod, grace=False)
            self.head = self._start_head()
        for group in self.resource["spec"]["workerGroupSpecs"]:
            surplus = group.get("scaleStrategy", {}).get("workersToDelete", [])
            there = self.pods(group["groupName"])
            for pod in there:
                if pod.name in surplus or pod.phase in (Phase.FAILED, Phase.SUCCEEDED):
                    self._node.delete(pod)
            kept = [pod for pod in self.pods(group["groupName"]) if pod.name not in surplus]
            for _ in range(kuberay.wanted(group) - len(kept)):
                self._node.run(kuberay.worker_pod(self.resource, group, suffix()), self._hosts)

    async def serve(self, config: str) -> bool:
        """Has Ray Serve deploy a configuration, now or in another round; returns whether its applications run."""
        if not self.head.ready:
            return False
        url = f"http://{self.head.ip}:8265"
        async with httpx.AsyncClient(base_url=url, headers=self._headers, timeout=_TIMEOUT_S, verify=False) as client:
            try:
                if config != self._submitted:
                    await _checked(client.put(_APPLICATIONS, json=yaml.safe_load(config)))
                    self._submitted = config
                    return False
                details = await _checked(client.get(_APPLICATIONS, params={"api_type": "declarative"}))
            except httpx.HTTPError as error:
                self._state = {"no answer": repr(error)}
                return False
        applications: dict[str, dict[str, Any]] = details.json()["applications"]
        self._state = {name: f"{each['status']} {each['message']}".strip() for name, each in applications.items()}
        return bool(applications) and all(each["status"] == "RUNNING" for each in applications.values())

    def delete(self) -> None:
        """Has all its pods end, as when the RayCluster is deleted."""
        for pod in self.pods():
            self._node.delete(pod)

    def _start_head(self) -> Pod:
        head = self._node.run(kuberay.head_pod(self.resource, suffix()), {})
        self._hosts = {kuberay.head_service(self.resource): head.ip}
        self._submitted = None
        return head

    def describe(self) -> str:
        """How far it is, in a line."""
        pods = [f"{pod.labels['ray.io/group']} {_state(pod)}" for pod in self.pods()]
        return f"{self.name}: {', '.join(pods)}; Serve: {self._state or 'nothing yet'}"


async def _checked(call: Awaitable[httpx.Response]) -> httpx.Response:
    answer = await call
    if not answer.is_success:
        raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
    return answer


def _state(pod: Pod) -> str:
    if pod.terminating:
        return "terminating"
    if pod.ready:
        return "ready"
    return f"no longer ready ({pod.why_not_ready})" if pod.was_ready else pod.phase.value.lower()
