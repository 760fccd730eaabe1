"""What Helm needs to install a release: a Kubernetes API in memory, and a Postgres that keeps the releases.

Helm's own storage, in Secrets, wants an API that reads Protocol Buffers. This one admits, defaults and checks nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kmock

from tests.helm.chart import Object

_KINDS = {
    "v1/configmaps": "ConfigMap",
    "v1/pods": "Pod",
    "v1/secrets": "Secret",
    "v1/serviceaccounts": "ServiceAccount",
    "v1/services": "Service",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
    "apps/v1/deployments": "Deployment",
    "cert-manager.io/v1/certificates": "Certificate",
    "gateway.networking.k8s.io/v1/grpcroutes": "GRPCRoute",
    "gateway.networking.k8s.io/v1/httproutes": "HTTPRoute",
    "monitoring.coreos.com/v1/podmonitors": "PodMonitor",
    "monitoring.coreos.com/v1/prometheusrules": "PrometheusRule",
    "networking.k8s.io/v1/ingresses": "Ingress",
    "networking.k8s.io/v1/networkpolicies": "NetworkPolicy",
    "policy/v1/poddisruptionbudgets": "PodDisruptionBudget",
    "ray.io/v1/rayservices": "RayService",
    "scheduling.k8s.io/v1/priorityclasses": "PriorityClass",
}
_VERBS = {"create", "delete", "get", "list", "patch", "update", "watch"}


class KubernetesApi(kmock.KubernetesEmulator):
    """The API. kmock describes the core group in a way that Helm does not understand, so that is told here."""

    def __init__(self) -> None:
        super().__init__()
        core = []
        for key, kind in _KINDS.items():
            namespaced = kind not in ("CustomResourceDefinition", "PriorityClass")
            self.resources[key] = kmock.ResourceInfo(kind=kind, namespaced=namespaced, verbs=_VERBS)
            if key.startswith("v1/"):
                verbs = sorted(_VERBS)
                core.append({"name": key[3:], "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs})
        self["get /version"] << {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}
        self["get /api"] << {"kind": "APIVersions", "versions": ["v1"]}
        self["get /api/v1"] << {"kind": "APIResourceList", "groupVersion": "v1", "resources": core}

    def there(self) -> dict[tuple[str, str], Object]:
        """What there is, by kind and name."""
        found: dict[tuple[str, str], Any] = {}
        for (resource, _, name), each in list(self.objects.items()):
            if not each.deleted:
                found[_KINDS[f"{resource.group}/{resource.version}/{resource.plural}".removeprefix("/")], name] = (
                    each.raw
                )
        return found


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A Postgres for this time. Yields where it is, as Helm's SQL driver wants it."""
    import pgserver.postgres_server  # looks for XDG_RUNTIME_DIR, and warns without it

    with pgserver.postgres_server.get_server(folder, cleanup_mode="delete") as server:
        yield f"{server.get_uri()}&sslmode=disable"
