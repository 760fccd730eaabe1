"""`codegemma cluster resize`: the sizes of worker groups, without a restart."""

from collections.abc import Sequence

from rich.console import Console

from serving.cli.cluster_connection import DEFAULT_RELEASE, ContextOption, NamespaceOption, ReleaseOption, cluster_of
from serving.cluster.drift import Resize
from serving.cluster.drift import resize as resize_cluster
from serving.cluster.release import service_of


def resize(
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    release: ReleaseOption = DEFAULT_RELEASE,
) -> None:
    """Set minReplicas and maxReplicas of the running cluster to those installed last.

    KubeRay does not do so when only they changed. Nothing restarts. Exit status 2 if something fails.
    """
    with cluster_of(context, namespace) as cluster:
        done = resize_cluster(cluster, service_of(cluster, release))
    print_resizes(done)
    if not done:
        Console().print("nothing to do: worker groups have the sizes that are asked for", highlight=False)


def print_resizes(done: Sequence[Resize]) -> None:
    """A line for each size that was set."""
    for one in done:
        text = f"RayCluster {one.cluster}: {one.group}.{one.size} {one.has} -> {one.asked}"
        Console().print(text, highlight=False, markup=False)
