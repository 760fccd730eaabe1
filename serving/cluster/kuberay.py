"""KubeRay: whether its kinds and its operator are there, and new enough."""

import re
from collections.abc import Iterable, Iterator, Sequence

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import CRDS, PODS, RAY_SERVICES
from serving.cluster.kuberay_options import KubeRayOption, Version, gates_of, has_option, options_of

_INSTALL_KUBERAY = (
    "Install KubeRay with its CRDs: helm install kuberay-operator kuberay-operator "
    "--repo https://ray-project.github.io/kuberay-helm/ -n kuberay-system --create-namespace"
)


def examine_kuberay(cluster: Cluster, objects: Iterable[Object]) -> Iterator[Finding]:
    """Whether the cluster can run a RayService, with the options of those among the objects."""
    options = options_of(objects)
    yield from _kinds(cluster, options)
    yield from _operator(cluster, options)


def _kinds(cluster: Cluster, options: Sequence[KubeRayOption]) -> Iterator[Finding]:
    if "RayService" not in cluster.served(RAY_SERVICES.api_version):
        yield problem("RayService", f"the cluster does not know {RAY_SERVICES.full_name}", _INSTALL_KUBERAY)
        return
    yield ok("RayService", f"the cluster knows {RAY_SERVICES.full_name}")
    try:
        crd = cluster.find(CRDS.path(name=RAY_SERVICES.full_name))
    except ForbiddenError:
        return  # the operator's version says nearly the same
    for option in options:
        if crd is not None and not has_option(crd, option):
            yield problem(
                "RayService",
                f"its CRD has no {option.name}: {option.effect} would silently be off",
                "Update the CRDs; Helm leaves those that are there alone: kubectl apply --server-side -k "
                "'github.com/ray-project/kuberay/ray-operator/config/crd?ref=v1.7.0'",
            )


def operator_pods(cluster: Cluster) -> list[Object]:
    """The pods of KubeRay's operator in any namespace; none if they are not visible, as with GKE's add-on.

    Raises:
      ForbiddenError: pods of all namespaces may not be listed.
    """
    return cluster.items(PODS.path(), labelSelector="app.kubernetes.io/component=kuberay-operator")


def _operator(cluster: Cluster, options: Sequence[KubeRayOption]) -> Iterator[Finding]:
    subject = "KubeRay operator"
    newest = max(option.since for option in options)
    try:
        pods = operator_pods(cluster)
    except ForbiddenError as error:
        remedy = f"Ask who runs the cluster for its version: {_text(newest)} or newer."
        yield warning(subject, f"not examined: {error}", remedy)
        return
    if not pods:
        yield warning(
            subject,
            "no pod of it is visible; a managed one, such as GKE's add-on, may run out of sight",
            f"If there is none: {_INSTALL_KUBERAY}",
        )
        return
    pod = pods[0]
    image = pod["spec"]["containers"][0]["image"]
    where = f"{image} in namespace {pod['metadata']['namespace']}"
    if not any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or []):
        yield problem(
            subject,
            f"{where} is not ready",
            f"See why: kubectl describe pod -n {pod['metadata']['namespace']} {pod['metadata']['name']}",
        )
        return
    version = re.search(r":v?(\d+)\.(\d+)\.(\d+)", image)
    if version is None:
        yield warning(subject, f"{where}: its tag is no version", f"Make sure that it is {_text(newest)} or newer.")
        return
    found = tuple(map(int, version.groups()))
    too_new = [option for option in options if found < option.since]
    for option in too_new:
        yield problem(
            subject,
            f"{where} is too old: {option.name}, {option.effect}, came with {_text(option.since)}",
            "Upgrade it, its CRDs first: helm upgrade kuberay-operator kuberay-operator "
            "--repo https://ray-project.github.io/kuberay-helm/",
        )
    gates = gates_of(pod)
    off = [option for option in options if option.gate and option.gate not in gates and option not in too_new]
    for option in off:
        yield problem(
            subject,
            f"{where} refuses {option.name}, {option.effect}: its feature gate {option.gate} is off",
            f"Enable it in featureGates of the operator's chart, which makes it --feature-gates={option.gate}=true",
        )
    if not too_new and not off:
        yield ok(subject, where)


def _text(version: Version) -> str:
    return ".".join(map(str, version))
