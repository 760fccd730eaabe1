"""KubeRay: whether its kinds and its operator are there, and new enough."""

import re
from collections.abc import Iterator

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import CRDS, PODS, RAY_SERVICES

_TOKENS_SINCE = (1, 5, 1)
"""The first KubeRay whose RayClusters have `authOptions`, which makes Ray ask for a token."""
_INSTALL_KUBERAY = (
    "Install KubeRay with its CRDs: helm install kuberay-operator kuberay-operator "
    "--repo https://ray-project.github.io/kuberay-helm/ -n kuberay-system --create-namespace"
)


def examine_kuberay(cluster: Cluster) -> Iterator[Finding]:
    """Whether the cluster can run a RayService."""
    yield from _kinds(cluster)
    yield _operator(cluster)


def _kinds(cluster: Cluster) -> Iterator[Finding]:
    if "RayService" not in cluster.served(RAY_SERVICES.api_version):
        yield problem("RayService", f"the cluster does not know {RAY_SERVICES.full_name}", _INSTALL_KUBERAY)
        return
    yield ok("RayService", f"the cluster knows {RAY_SERVICES.full_name}")
    try:
        crd = cluster.find(CRDS.path(name=RAY_SERVICES.full_name))
    except ForbiddenError:
        return  # the operator's version says nearly the same
    if crd is not None and not _has_auth_options(crd):
        yield problem(
            "RayService",
            "its CRD has no authOptions: Ray's token authentication would silently be off",
            "Update the CRDs; Helm leaves those that are there alone: kubectl apply --server-side -k "
            "'github.com/ray-project/kuberay/ray-operator/config/crd?ref=v1.6.2'",
        )


def _has_auth_options(crd: Object) -> bool:
    for version in crd["spec"]["versions"]:
        node: object = (version.get("schema") or {}).get("openAPIV3Schema")
        for field in ("spec", "rayClusterConfig", "authOptions"):
            node = node.get("properties", {}).get(field) if isinstance(node, dict) else None
        if node is not None:
            return True
    return False


def operator_pods(cluster: Cluster) -> list[Object]:
    """The pods of KubeRay's operator, in whatever namespace; none if it runs out of sight, as GKE's add-on does.

    Raises:
      ForbiddenError: pods of all namespaces may not be listed.
    """
    return cluster.items(PODS.path(), labelSelector="app.kubernetes.io/component=kuberay-operator")


def _operator(cluster: Cluster) -> Finding:
    subject = "KubeRay operator"
    try:
        pods = operator_pods(cluster)
    except ForbiddenError as error:
        return warning(subject, f"not examined: {error}", "Ask who runs the cluster for its version: 1.5.1 or newer.")
    if not pods:
        return warning(
            subject,
            "no pod of it is visible; a managed one, such as GKE's add-on, may run out of sight",
            f"If there is none: {_INSTALL_KUBERAY}",
        )
    pod = pods[0]
    image = pod["spec"]["containers"][0]["image"]
    where = f"{image} in namespace {pod['metadata']['namespace']}"
    if not any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or []):
        return problem(
            subject,
            f"{where} is not ready",
            f"See why: kubectl describe pod -n {pod['metadata']['namespace']} {pod['metadata']['name']}",
        )
    version = re.search(r":v?(\d+)\.(\d+)\.(\d+)", image)
    if version is None:
        return warning(subject, f"{where}: its tag is no version", "Make sure that it is 1.5.1 or newer.")
    if tuple(map(int, version.groups())) < _TOKENS_SINCE:
        return problem(
            subject,
            f"{where} is too old: authOptions, Ray's token authentication, came with 1.5.1",
            "Upgrade it, its CRDs first: helm upgrade kuberay-operator kuberay-operator "
            "--repo https://ray-project.github.io/kuberay-helm/",
        )
    return ok(subject, where)
