"""Kinds of Kubernetes objects, and the paths at which the API serves them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API.

    Attributes:
      api_version: such as `v1` or `ray.io/v1`.
      plural: such as `pods`.
    """

    api_version: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def full_name(self) -> str:
        """`rayservices.ray.io`, as roles and CRDs call it; `pods` in the core."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The path of the collection; with a name, of the object; with a subresource, of that."""
        parts = [group_path(self.api_version)]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


def group_path(api_version: str) -> str:
    """Where the API lists the kinds of a version."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


CLAIMS = Kind("v1", "persistentvolumeclaims")
CONFIG_MAPS = Kind("v1", "configmaps")
EVENTS = Kind("v1", "events")
LIMIT_RANGES = Kind("v1", "limitranges")
NAMESPACES = Kind("v1", "namespaces")
NODES = Kind("v1", "nodes")
PODS = Kind("v1", "pods")
QUOTAS = Kind("v1", "resourcequotas")
SECRETS = Kind("v1", "secrets")
ACCESS_REVIEWS = Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews")
CRDS = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
NETWORK_POLICIES = Kind("networking.k8s.io/v1", "networkpolicies")
RAY_CLUSTERS = Kind("ray.io/v1", "rayclusters")
RAY_SERVICES = Kind("ray.io/v1", "rayservices")
STORAGE_CLASSES = Kind("storage.k8s.io/v1", "storageclasses")
