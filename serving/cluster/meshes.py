"""Meshes: whether a service mesh would put its proxies between Ray's processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, warning
from serving.cluster.kinds import NAMESPACES
from serving.cluster.ray_pods import ray_pods

type _Metadata = Literal["labels", "annotations"]

_SUBJECT = "service mesh"
_BETWEEN = (
    "its proxies come between Ray's processes, which listen on ports that no Service names; with mutual TLS they lose "
    "each other"
)
_CLOSED = "connections come in on port 15008, which the network policies close"


@dataclass(frozen=True, slots=True)
class _Mesh:
    """A way in which a namespace takes part in a mesh, and a pod does not.

    Attributes:
      where: what of the namespace, and of a pod, says so.
      value: of the key, in the namespace; None for any.
      out: the key and value of a pod that is left out.
      harm: what happens to pods that are not.
    """

    name: str
    where: _Metadata
    key: str
    value: str | None
    out: tuple[str, str]
    harm: str


_MESHES = (
    _Mesh("Istio", "labels", "istio-injection", "enabled", ("sidecar.istio.io/inject", "false"), _BETWEEN),
    _Mesh("Istio", "labels", "istio.io/rev", None, ("sidecar.istio.io/inject", "false"), _BETWEEN),
    _Mesh("Istio", "labels", "istio.io/dataplane-mode", "ambient", ("istio.io/dataplane-mode", "none"), _CLOSED),
    _Mesh("Linkerd", "annotations", "linkerd.io/inject", "enabled", ("linkerd.io/inject", "disabled"), _BETWEEN),
)


def examine_meshes(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether the namespace is part of a mesh and the pods of a RayService are not left out.

    Args:
      cluster: where.
      objects: the RayService among others.
    """
    try:
        namespace = cluster.find(NAMESPACES.path(name=cluster.namespace))
    except ForbiddenError:  # the examination of the namespace reports it
        return
    metadata = (namespace or {}).get("metadata") or {}
    meshes = [mesh for mesh in _MESHES if _takes_part(metadata, mesh)]
    if namespace and not meshes:
        yield ok(_SUBJECT, f"namespace {cluster.namespace} is in none")
    pods = [pod.metadata for pod in ray_pods(objects)]
    for mesh in meshes:
        key, value = mesh.out
        here = f"namespace {cluster.namespace} is in {mesh.name}'s by {mesh.key}={metadata[mesh.where][mesh.key]}"
        if pods and all((pod.get(mesh.where) or {}).get(key) == value for pod in pods):
            yield ok(_SUBJECT, f"{here}, and the pods are left out")
        else:
            values = f'{"podLabels" if mesh.where == "labels" else "podAnnotations"}: {{{key}: "{value}"}}'
            yield warning(_SUBJECT, f"{here}: {mesh.harm}", f"Leave the pods out, by {values} in the values.")


def _takes_part(namespace: Object, mesh: _Mesh) -> bool:
    found = (namespace.get(mesh.where) or {}).get(mesh.key)
    return found is not None and mesh.value in (None, found)
