"""Server-side apply of manifests."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, ConflictError
from serving.cluster.manifests import name_of
from serving.cluster.release import check_namespace, helm_release

_ADMINISTRATION = ("managedFields", "resourceVersion", "generation")
"""Metadata that the cluster itself changes."""


class Change(StrEnum):
    """What applying did to an object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Target:
    """An object to apply.

    Attributes:
      path: where the cluster has it, or will.
      before: what the cluster has now.
    """

    manifest: Object
    path: str
    before: Object | None


def find_targets(cluster: Cluster, manifests: Sequence[Object]) -> list[Target]:
    """Where each object goes; those that name no namespace go to the cluster's. Changes nothing.

    Raises:
      ClusterError: the namespace or a kind is missing, or Helm manages an object.
    """
    check_namespace(cluster)
    return [_target(cluster, one) for one in manifests]


def _target(cluster: Cluster, manifest: Object) -> Target:
    name, api_version, kind = name_of(manifest), manifest["apiVersion"], manifest["kind"]
    served = cluster.served(api_version)
    if kind not in served:
        raise ClusterError(
            f"{name}: the cluster does not know {kind} in {api_version}. Install what brings it "
            "(`codegemma cluster doctor` says what), or leave it out."
        )
    resource, namespaced = served[kind]
    if namespaced:
        namespace = manifest["metadata"].get("namespace") or cluster.namespace
        manifest = manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}
        path = resource.path(namespace, manifest["metadata"]["name"])
    else:
        path = resource.path(name=manifest["metadata"]["name"])
    before = cluster.find(path)
    release = helm_release(before) if before else None
    if release is not None:
        raise ClusterError(
            f"{name} belongs to the Helm release '{release}': both would change it in turn. Change it with "
            f"helm upgrade {release}, or choose another namespace."
        )
    return Target(manifest, path, before)


def apply_target(cluster: Cluster, target: Target, *, force: bool = False, dry_run: bool = False) -> Change:
    """Makes the cluster's object what the manifest says.

    Args:
      cluster: where.
      target: the object.
      force: take fields over that another manager owns.
      dry_run: only have the cluster check and answer.

    Raises:
      ConflictError: another manager owns a field, and `force` is not given.
    """
    try:
        after = cluster.apply(target.path, target.manifest, force=force, dry_run=dry_run)
    except ConflictError as error:
        raise ConflictError(
            f"{name_of(target.manifest)}: {error}. Change the field where that manager sets it, or take it over "
            "with --force-conflicts."
        ) from None
    if target.before is None:
        return Change.CREATED
    return Change.UNCHANGED if _content(after) == _content(target.before) else Change.CONFIGURED


def _content(one: Object) -> Object:
    metadata = {key: value for key, value in one["metadata"].items() if key not in _ADMINISTRATION}
    return {key: value for key, value in one.items() if key != "status"} | {"metadata": metadata}
