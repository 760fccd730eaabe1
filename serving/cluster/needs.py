"""What an installation needs of a cluster: nodes with accelerators, and secrets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from serving.cluster.connection import Object
from serving.cluster.errors import ClusterError
from serving.config import ServingConfig
from serving.models.topology import Topology

ACCELERATORS = ("google.com/tpu", "nvidia.com/gpu")
TPU_KIND = "cloud.google.com/gke-tpu-accelerator"
TPU_TOPOLOGY = "cloud.google.com/gke-tpu-topology"
_V5E = "tpu-v5-lite-podslice"


@dataclass(frozen=True, kw_only=True)
class NodeNeed:
    """Nodes of one kind, for the replicas of one model or worker group.

    Attributes:
      name: of the model or worker group.
      resource: one of ACCELERATORS.
      per_node: accelerators that a pod takes of a node.
      hosts: pods of one replica; several must be on the nodes of one slice.
      pods: how many pods there are at least.
      most_pods: how many autoscaling may want.
      selector: labels that the nodes must have.
    """

    name: str
    resource: str
    per_node: int
    hosts: int = 1
    pods: int
    most_pods: int
    selector: Mapping[str, str]

    def __str__(self) -> str:
        where = " with " + ", ".join(f"{key}={value}" for key, value in self.selector.items()) if self.selector else ""
        return f"{self.pods} x {self.per_node} {self.resource}{where}"


def needs_of_config(config: ServingConfig) -> list[NodeNeed]:
    """The accelerators that a configuration's models ask for; models on CPUs ask for none."""
    return [
        NodeNeed(
            name=model.id,
            resource="google.com/tpu" if model.topology.platform == "tpu" else "nvidia.com/gpu",
            per_node=model.topology.chips_per_host,
            hosts=model.topology.hosts,
            pods=model.topology.hosts * (model.autoscaling.min_replicas if model.autoscaling else model.replicas),
            most_pods=model.topology.hosts * (model.autoscaling.max_replicas if model.autoscaling else model.replicas),
            selector=_selector(model.topology),
        )
        for model in config.models
        if model.topology.platform != "cpu"
    ]


def _selector(topology: Topology) -> dict[str, str]:
    return {TPU_KIND: _V5E, TPU_TOPOLOGY: topology.slice_shape} if topology.slice_shape else {}


def needs_of_service(service: Object) -> list[NodeNeed]:
    """The accelerators that the worker groups of a RayService ask for."""
    needs = []
    for group in service["spec"]["rayClusterConfig"].get("workerGroupSpecs") or []:
        pod = group["template"]["spec"]
        wanted = accelerators(pod)
        hosts = group.get("numOfHosts") or 1
        least = max(group.get("minReplicas") or 0, group.get("replicas") or 0)
        needs += [
            NodeNeed(
                name=group["groupName"],
                resource=resource,
                per_node=count,
                hosts=hosts,
                pods=least * hosts,
                most_pods=max(group.get("maxReplicas") or 0, least) * hosts,
                selector=pod.get("nodeSelector") or {},
            )
            for resource, count in wanted.items()
        ]
    return needs


def accelerators(pod_spec: Object) -> dict[str, int]:
    """Accelerators that the containers of a pod ask for, by resource.

    Raises:
      ClusterError: a container asks for a part of one.
    """
    from kubernetes.utils.quantity import parse_quantity

    totals: dict[str, int] = {}
    for container in pod_spec.get("containers") or []:
        resources = container.get("resources") or {}
        asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
        for resource in ACCELERATORS:
            if asked.get(resource) is not None:
                count = parse_quantity(asked[resource])
                if count != int(count):
                    whose = f"Container {container['name']} asks for {resource}={asked[resource]}"
                    raise ClusterError(f"{whose}, but there are no parts of accelerators. Write a whole number.")
                totals[resource] = totals.get(resource, 0) + int(count)
    return totals


def secrets_of(objects: Iterable[Object]) -> set[tuple[str, str | None]]:
    """The secrets that objects refer to and need: (name, key), key None for the whole secret."""
    found: set[tuple[str, str | None]] = set()
    for holder in _mappings(list(objects)):
        match holder:
            case {"secretKeyRef": {"name": str(name), "key": str(key), **rest}}:
                found |= set() if rest.get("optional") else {(name, key)}
            case {
                "secret": {"secretName": str(name), "items": [*items], **rest}
                | {"name": str(name), "items": [*items], **rest}
            }:
                found |= set() if rest.get("optional") else {(name, str(item["key"])) for item in items}
            case (
                {"secretRef": {"name": str(name), **rest}}
                | {"secret": {"secretName": str(name), **rest}}
                | {"secret": {"name": str(name), **rest}}  # in a projected volume
            ):
                found |= set() if rest.get("optional") else {(name, None)}
            case {"imagePullSecrets": [*references]}:
                found |= {(reference["name"], None) for reference in references}
            case {"authOptions": {"secretName": str(name)}}:
                found |= {(name, "auth_token")}
    return found


def _mappings(node: object) -> Iterator[Object]:
    """Every mapping in a JSON value, outermost first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _mappings(value)
