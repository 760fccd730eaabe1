"""Release: the objects that were installed together, and whether Helm installed them."""

from collections.abc import Sequence

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, ForbiddenError
from serving.cluster.fields import with_fields
from serving.cluster.kinds import NAMESPACES, PODS, RAY_SERVICES, SECRETS

_HELM_RELEASE = "meta.helm.sh/release-name"
_INSTANCE = "app.kubernetes.io/instance"


def release_of(service: Object) -> str:
    """The release of a RayService: its label, as its name may be longer; without a label, its name."""
    metadata = service["metadata"]
    return str((metadata.get("labels") or {}).get(_INSTANCE) or metadata["name"])


def find_service(cluster: Cluster, release: str) -> Object | None:
    """The RayService of a release, None if there is none.

    Raises:
      ClusterError: there are several.
    """
    return _one_of(cluster, release, _services(cluster))


def _services(cluster: Cluster) -> list[Object]:
    """The RayServices of the namespace, with apiVersion and kind, which items of a list may lack."""
    kind = {"apiVersion": RAY_SERVICES.api_version, "kind": "RayService"}
    return [with_fields(kind | one) for one in cluster.items(RAY_SERVICES.path(cluster.namespace))]


def _one_of(cluster: Cluster, release: str, services: Sequence[Object]) -> Object | None:
    found = [one for one in services if release_of(one) == release]
    if len(found) > 1:
        names = ", ".join(one["metadata"]["name"] for one in found)
        raise ClusterError(
            f"namespace '{cluster.namespace}' has several RayServices of release '{release}': {names}. Their pods "
            f"cannot be told apart: give each a label {_INSTANCE} of its own, on its pods and what selects them too."
        )
    return found[0] if found else None


def service_of(cluster: Cluster, release: str) -> Object:
    """The RayService of a release.

    Raises:
      ClusterError: there is none; says whether KubeRay, the namespace or the release is missing.
    """
    services = _services(cluster)
    service = _one_of(cluster, release, services)
    if service is not None:
        return service
    if "RayService" not in cluster.served(RAY_SERVICES.api_version):
        raise ClusterError(
            f"the cluster of context '{cluster.context}' does not know {RAY_SERVICES.full_name}: KubeRay is not "
            "installed. Is it the right context? `codegemma cluster doctor` says how to install it."
        )
    check_namespace(cluster)
    there = ", ".join(f"{release_of(one)} (RayService {one['metadata']['name']})" for one in services)
    raise ClusterError(
        f"namespace '{cluster.namespace}' has no release '{release}'; its releases: {there or 'none'}. "
        "Choose with --release and --namespace, or install it: `codegemma cluster apply`, or helm install."
    )


def check_namespace(cluster: Cluster) -> None:
    """Raises ClusterError if the namespace does not exist, as far as the user may know."""
    try:
        there = cluster.find(NAMESPACES.path(name=cluster.namespace))
    except ForbiddenError:
        return
    if there is None:
        raise ClusterError(
            f"namespace '{cluster.namespace}' does not exist in context '{cluster.context}'. Create it with "
            f"kubectl create namespace {cluster.namespace}, or name another with --namespace."
        )


def check_service(cluster: Cluster, release: str, manifests: Sequence[Object]) -> bool:
    """Whether manifests have a RayService; it must be that of the release.

    Raises:
      ClusterError: it is of another release or namespace.
    """
    services = [one for one in manifests if one["kind"] == "RayService"]
    for service in services:
        name, its = service["metadata"]["name"], release_of(service)
        namespace = service["metadata"].get("namespace", cluster.namespace)
        if (its, namespace) != (release, cluster.namespace):
            raise ClusterError(
                f"the manifests have RayService '{name}' of release '{its}' in namespace '{namespace}', but this is "
                f"about '{release}' in '{cluster.namespace}'. Add --release {its} --namespace {namespace}."
            )
    return bool(services)


def pods_of(cluster: Cluster, release: str) -> list[Object]:
    """The pods of a release, by name."""
    pods = cluster.items(PODS.path(cluster.namespace), labelSelector=f"{_INSTANCE}={release}")
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def helm_release(one: Object) -> str | None:
    """The Helm release that an object belongs to, None if it does not."""
    name = (one["metadata"].get("annotations") or {}).get(_HELM_RELEASE)
    return None if name is None else str(name)


def previous_helm_revision(cluster: Cluster, release: str) -> int | None:
    """The revision that `helm rollback` would restore; None if Helm has no older one that worked."""
    labels = [
        one["metadata"]["labels"]
        for one in cluster.items(SECRETS.path(cluster.namespace), labelSelector=f"owner=helm,name={release}")
    ]
    worked = sorted(int(one["version"]) for one in labels if one["status"] in ("deployed", "superseded"))
    return worked[-2] if len(worked) > 1 else None
