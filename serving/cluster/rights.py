"""Rights: what the user may do, according to the cluster."""

from collections.abc import Iterator, Set

from serving.cluster.connection import Cluster
from serving.cluster.findings import Finding, ok, problem
from serving.cluster.kinds import ACCESS_REVIEWS

USUAL_KINDS = {
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("ray.io/v1", "RayService"),
}
"""(apiVersion, kind) of the objects of an installation whose manifests are not known."""
_APPLYING = ("get", "create", "patch")
_RESIZING = ({"verb": "patch", "resource": "rayclusters", "group": "ray.io"},)
_WATCHING = (
    {"verb": "list", "resource": "pods"},
    {"verb": "get", "resource": "pods", "subresource": "log"},
    {"verb": "get", "resource": "pods", "subresource": "proxy"},
    {"verb": "list", "resource": "events"},
    {"verb": "list", "resource": "rayservices", "group": "ray.io"},
    {"verb": "get", "resource": "rayclusters", "group": "ray.io"},
)


def examine_rights(cluster: Cluster, kinds: Set[tuple[str, str]]) -> Iterator[Finding]:
    """Whether the user may apply objects of these kinds, (apiVersion, kind), and watch the service."""
    rights = [right | {"namespace": cluster.namespace} for right in (*_WATCHING, *_RESIZING)]
    for api_version, kind in sorted(kinds):
        if kind in cluster.served(api_version):
            resource, namespaced = cluster.served(api_version)[kind]
            where = {"namespace": cluster.namespace} if namespaced else {}
            rights += [
                {"verb": verb, "resource": resource.plural, "group": resource.group} | where for verb in _APPLYING
            ]
    missing = [right for right in rights if not _allowed(cluster, right)]
    for right in missing:
        yield _missing(right)
    if not missing:
        yield ok("rights", f"you have all {len(rights)} that installing and watching take")


def _allowed(cluster: Cluster, right: dict[str, str]) -> bool:
    body = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right},
    }
    return bool(cluster.create(ACCESS_REVIEWS.path(), body)["status"]["allowed"])


def _missing(right: dict[str, str]) -> Finding:
    resource = ".".join(part for part in (right["resource"], right.get("group")) if part)
    resource += f"/{right['subresource']}" if "subresource" in right else ""
    namespace = right.get("namespace")
    where, role = (f"in namespace {namespace}", f"role -n {namespace}") if namespace else ("at all", "clusterrole")
    return problem(
        "rights",
        f"you may not {right['verb']} {resource} {where}",
        f"Ask for a role with it: kubectl create {role} codegemma-{right['resource']} "
        f"--verb={right['verb']} --resource={resource}",
    )
