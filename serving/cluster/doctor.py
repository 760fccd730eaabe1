"""Doctor: examines a cluster before an installation, or one whose installation does not work."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from serving.cluster.claims import examine_claims
from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ClusterError, ForbiddenError
from serving.cluster.fields import MissingFieldError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import NAMESPACES
from serving.cluster.kuberay import examine_kuberay
from serving.cluster.limit_ranges import examine_limit_ranges
from serving.cluster.manifests import name_of
from serving.cluster.meshes import examine_meshes
from serving.cluster.needs import NodeNeed, needs_of_config, needs_of_service
from serving.cluster.nodes import examine_nodes, examine_upgrade
from serving.cluster.policies import examine_policies
from serving.cluster.quotas import examine_quotas
from serving.cluster.references import examine_secrets
from serving.cluster.release import find_service, release_of
from serving.cluster.rights import USUAL_KINDS, examine_rights
from serving.config import ServingConfig

_OPTIONAL = {
    "PodMonitor": ("monitoring.coreos.com/v1", "the Prometheus operator"),
    "PrometheusRule": ("monitoring.coreos.com/v1", "the Prometheus operator"),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "the Gateway API"),
    "GRPCRoute": ("gateway.networking.k8s.io/v1", "the Gateway API"),
    "Certificate": ("cert-manager.io/v1", "cert-manager"),
}
_OWNERS = {kind: owner for kind, (_, owner) in _OPTIONAL.items()} | {
    "InferencePool": "the Gateway API inference extension",
}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What is installed, or is to be.

    Attributes:
      manifests: all its objects; None if they are not known.
      service: its RayService, if the cluster has one and no manifests were given.
      needs: accelerators that it asks for.
    """

    release: str
    manifests: Sequence[Object] | None = None
    service: Object | None = None
    needs: Sequence[NodeNeed] = ()

    @property
    def objects(self) -> Sequence[Object]:
        """Its known objects."""
        return self.manifests or ([self.service] if self.service else [])


def installation_of_manifests(release: str, manifests: Sequence[Object]) -> Installation:
    """What manifests install; the release is that of their RayService, if they have one.

    Raises:
      ClusterError: they have several.
    """
    services = [one for one in manifests if one["kind"] == "RayService"]
    if len(services) > 1:
        names = ", ".join(map(name_of, services))
        raise ClusterError(
            f"the manifests have several RayServices: {names}. Give one at a time, with what is its own."
        )
    release = release_of(services[0]) if services else release
    needs = _needs(services[0]) if services else ()
    return Installation(release=release, manifests=manifests, needs=needs)


def installation_of_config(release: str, config: ServingConfig) -> Installation:
    """What a configuration needs; its secrets and claims are not known."""
    return Installation(release=release, needs=needs_of_config(config))


def installation_in(cluster: Cluster, release: str) -> Installation:
    """What the cluster has of a release, which may be nothing, as far as the user may know."""
    try:
        service = find_service(cluster, release)
    except ForbiddenError:  # the examination of rights reports it
        service = None
    return Installation(release=release, service=service, needs=_needs(service) if service else ())


def _needs(service: Object) -> Sequence[NodeNeed]:
    try:
        return needs_of_service(service)
    except MissingFieldError:  # a finding of what examines its pods
        return ()


def examine(cluster: Cluster, installation: Installation) -> Iterator[Finding]:
    """All findings, one examination after the other. What objects lack is a finding too, once for each field."""
    missing: set[Finding] = set()
    for examination in _examinations(cluster, installation):
        try:
            yield from examination
        except MissingFieldError as error:
            finding = problem(error.subject, error.text, error.remedy)
            if finding not in missing:
                yield finding
            missing.add(finding)


def _examinations(cluster: Cluster, installation: Installation) -> Iterator[Iterable[Finding]]:
    objects = installation.objects
    kinds = {(one["apiVersion"], one["kind"]) for one in installation.manifests or ()}
    yield (_server(cluster),)
    yield examine_kuberay(cluster, objects)
    if kinds:
        yield _kinds(cluster, kinds)
    elif installation.service is None:
        yield _optional_kinds(cluster)
    yield (_namespace(cluster),)
    yield examine_rights(cluster, kinds or USUAL_KINDS)
    yield examine_nodes(cluster, installation.needs, installation.release)
    if _starts_second_cluster(cluster, installation):
        yield examine_upgrade(cluster, installation.needs)
    # Quotas already count what is installed.
    yield examine_quotas(cluster, () if installation.service else installation.needs)
    yield examine_limit_ranges(cluster, objects)
    yield examine_meshes(cluster, objects)
    yield examine_policies(cluster, objects)
    yield examine_secrets(cluster, objects)
    yield examine_claims(cluster, objects)


def _starts_second_cluster(cluster: Cluster, installation: Installation) -> bool:
    """Whether the release runs, and is to be upgraded by a second cluster beside the first."""
    installed = installation.service or installation_in(cluster, installation.release).service
    wanted = next((one for one in installation.objects if one["kind"] == "RayService"), None)
    strategy = ((wanted or {}).get("spec") or {}).get("upgradeStrategy") or {}
    return bool(installed and wanted and strategy.get("type") != "None")


def _server(cluster: Cluster) -> Finding:
    version = cluster.get("/version")["gitVersion"]
    return ok("cluster", f"Kubernetes {version} at {cluster.host}, context {cluster.context}")


def _kinds(cluster: Cluster, kinds: set[tuple[str, str]]) -> Iterator[Finding]:
    for api_version, kind in sorted(kinds):
        if kind not in cluster.served(api_version) and kind != "RayService":
            owner = _OWNERS.get(kind, f"what brings {api_version}")
            text = f"the manifests have one, but the cluster does not know {kind} in {api_version}"
            yield problem(kind, text, f"Install {owner}, or leave it out of the manifests.")


def _optional_kinds(cluster: Cluster) -> Iterator[Finding]:
    for kind, (api_version, owner) in _OPTIONAL.items():
        if kind not in cluster.served(api_version):
            yield warning(kind, f"not known here: {owner} is not installed", f"Leave it off, or install {owner}.")


def _namespace(cluster: Cluster) -> Finding:
    name = cluster.namespace
    try:
        there = cluster.find(NAMESPACES.path(name=name))
    except ForbiddenError:
        return warning("namespace", f"{name}: you may not look", "Ask for get of namespaces, or trust that it exists.")
    if there is None:
        return problem("namespace", f"{name} does not exist", f"Create it: kubectl create namespace {name}")
    return ok("namespace", name)
