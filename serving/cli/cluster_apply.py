"""`codegemma cluster apply`, and `rollback` to what was applied before."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from serving.cli.cluster_connection import (
    DEFAULT_RELEASE,
    ContextOption,
    NamespaceOption,
    ReleaseOption,
    cluster_of,
    errors_said,
)
from serving.cli.cluster_resize import print_resizes
from serving.cluster.apply import Change, Target, apply_target, find_targets
from serving.cluster.connection import Cluster
from serving.cluster.drift import read_drift, resize
from serving.cluster.errors import ClusterError
from serving.cluster.history import before_newest, begin, finish, revisions
from serving.cluster.manifests import name_of, read_manifests
from serving.cluster.release import check_service, helm_release, previous_helm_revision, service_of
from serving.cluster.rollout import watch_rollout

_STYLES = {Change.CREATED: "green", Change.CONFIGURED: "yellow", Change.UNCHANGED: "dim"}
_TIMEOUT_S = 1800.0

WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the RayService serves the manifests.")]
TimeoutOption = Annotated[float, typer.Option(min=0, help="Most seconds to wait.")]
ForceOption = Annotated[
    bool, typer.Option("--force-conflicts", help="Take over fields that another manager, such as kubectl, has set.")
]


def apply(
    manifests: Annotated[
        str,
        typer.Option("--filename", "-f", help="Rendered YAML: a file, a directory, or - for stdin.", metavar="PATH"),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the cluster validate the manifests; change nothing.")
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = _TIMEOUT_S,
    force: ForceOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    release: ReleaseOption = DEFAULT_RELEASE,
) -> None:
    """Apply rendered manifests, and wait until the service runs them.

    For installations without Helm. The cluster keeps the last manifests, for `rollback`. Objects that are no longer in
    the manifests are not deleted. Exit status 2 if something fails.
    """
    with errors_said():
        objects = read_manifests(manifests)
    with cluster_of(context, namespace) as cluster:
        serves = check_service(cluster, release, objects)
        revisions(cluster, release)  # fails before anything is changed, if they cannot be kept
        targets = find_targets(cluster, objects)
        if dry_run:
            _apply(cluster, targets, force=force, dry_run=True)
            return
        revision = begin(cluster, release, objects)  # before anything is changed: it may be refused halfway
        _apply(cluster, targets, force=force)
        finish(cluster, release, revision)
        Console().print(f"revision {revision.number} of {release}", highlight=False)
        if wait and serves:
            _wait(cluster, release, timeout)


def rollback(
    to: Annotated[int | None, typer.Option(help="The revision to apply.", show_default="the one before", min=1)] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = _TIMEOUT_S,
    force: ForceOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    release: ReleaseOption = DEFAULT_RELEASE,
) -> None:
    """Apply the manifests of an earlier `apply` again, as a new revision.

    A Helm release is not touched: the command prints the `helm rollback` to use. Exit status 2 if something fails.
    """
    with cluster_of(context, namespace) as cluster:
        _refuse_helm(cluster, release)
        kept = revisions(cluster, release)
        wanted = next((one for one in kept if one.number == to), None) if to is not None else before_newest(kept)
        if wanted is None:
            which = f"revision {to}" if to is not None else "revision before"
            there = ", ".join(map(str, kept)) or "none"
            raise ClusterError(
                f"release '{release}' in namespace '{cluster.namespace}' has no {which}; kept are: {there}. "
                "Apply the manifests you want with `codegemma cluster apply`."
            )
        objects, newest = wanted.manifests, kept[-1].manifests
        targets = find_targets(cluster, objects)
        revision = begin(cluster, release, objects)
        _apply(cluster, targets, force=force)
        finish(cluster, release, revision)
        console = Console()
        console.print(f"revision {revision.number} of {release}, as {wanted.number}", highlight=False)
        left = sorted({name_of(one) for one in newest} - {name_of(one) for one in objects})
        if left:
            console.print(f"not in revision {wanted.number}, left as they are: {', '.join(left)}", highlight=False)
        if wait:
            _wait(cluster, release, timeout)


def _apply(cluster: Cluster, targets: Sequence[Target], *, force: bool, dry_run: bool = False) -> None:
    console = Console()
    for target in targets:
        change = apply_target(cluster, target, force=force, dry_run=dry_run)
        text = f"{name_of(target.manifest)} [{_STYLES[change]}]{change}[/]{' (dry run)' if dry_run else ''}"
        console.print(text, highlight=False)


def _wait(cluster: Cluster, release: str, timeout_s: float) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    service = name_of(service_of(cluster, release))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        for rollout in watch_rollout(cluster, release, timeout_s):
            bar.update(task, description=f"{service}: {rollout.text}")
    served = service_of(cluster, release)
    if read_drift(cluster, served).resizes:  # KubeRay leaves them as they were, if nothing else changed
        print_resizes(resize(cluster, served))
    Console().print(f"{service} is in service", highlight=False)


def _refuse_helm(cluster: Cluster, release: str) -> None:
    helm = helm_release(service_of(cluster, release))
    if helm is None:
        return
    revision = previous_helm_revision(cluster, helm)
    if revision is None:
        raise ClusterError(f"Helm manages release '{helm}', and has no earlier revision to go back to.")
    raise ClusterError(
        f"Helm manages release '{helm}'. Go back with it: "
        f"helm rollback {helm} {revision} --namespace {cluster.namespace} --wait"
    )
