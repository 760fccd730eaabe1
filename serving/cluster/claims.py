"""Volume claims: whether those that an installation names exist, and whether their access modes fit its pods."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from serving.cluster.connection import Cluster, Object
from serving.cluster.errors import ForbiddenError
from serving.cluster.findings import Finding, ok, problem, warning
from serving.cluster.kinds import CLAIMS, STORAGE_CLASSES
from serving.cluster.manifests import is_hook

_MANY = {"ReadWriteMany", "ReadOnlyMany"}
"""Access modes with which pods on several nodes can mount a volume at the same time."""
_WRITABLE = {"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"}


class Span(Enum):
    """When pods have a claim."""

    LASTING = auto()
    ONCE = auto()
    """Until they are done, beside all others: a Job."""
    IN_TURN = auto()
    """The same, but one after the other: Jobs that are hooks of Helm. Of an upgrade, they run beside what lasts."""


@dataclass(frozen=True, kw_only=True)
class ClaimUse:
    """What uses a volume claim.

    Attributes:
      user: a worker group, a Job or another object with pods.
      pods: how many of its pods there may be at the same time.
      writes: whether they may write; they mount it read-only otherwise.
      span: when they have it.
    """

    claim: str
    user: str
    pods: int
    writes: bool
    span: Span


def claim_uses(objects: Iterable[Object]) -> list[ClaimUse]:
    """All uses of claims by the pods of objects."""
    return [
        ClaimUse(
            claim=source["claimName"],
            user=user,
            pods=pods,
            writes=not source.get("readOnly", False),
            span=_span(one),
        )
        for one in objects
        for user, template, pods in _pods(one)
        for volume in template["spec"].get("volumes") or []
        if (source := volume.get("persistentVolumeClaim"))
    ]


def _pods(one: Object) -> Iterator[tuple[str, Object, int]]:
    """The kinds of pods of an object: owner, template and how many there may be."""
    match one:
        case {"kind": "Pod", "metadata": {"name": name}}:
            yield f"pod {name}", one, 1
        case {"kind": "RayService", "spec": {"rayClusterConfig": cluster}}:
            yield "head", cluster["headGroupSpec"]["template"], 1
            for group in cluster.get("workerGroupSpecs") or []:
                pods = max(group.get("maxReplicas") or 0, group.get("replicas") or 0) * (group.get("numOfHosts") or 1)
                yield group["groupName"], group["template"], pods
        case {"kind": kind, "metadata": {"name": name}, "spec": {"template": {"spec": _} as template}}:
            pods = one["spec"].get("parallelism" if kind == "Job" else "replicas") or 1
            yield f"{kind} {name}", template, pods


def _span(one: Object) -> Span:
    if one["kind"] != "Job":
        return Span.LASTING
    return Span.IN_TURN if is_hook(one) else Span.ONCE


def examine_claims(cluster: Cluster, objects: Sequence[Object]) -> Iterator[Finding]:
    """Whether the claims that objects refer to, or that are among them, are bound or can be, and fit their use."""
    own = {one["metadata"]["name"]: one for one in objects if one["kind"] == "PersistentVolumeClaim"}
    uses = claim_uses(objects)
    for name in sorted({use.claim for use in uses} | own.keys()):
        try:
            yield _claim(cluster, name, own.get(name), [use for use in uses if use.claim == name])
        except ForbiddenError as error:
            yield warning(f"volume claim {name}", f"not examined: {error}", "Make sure that it is there and bound.")


def _claim(cluster: Cluster, name: str, own: Object | None, uses: Sequence[ClaimUse]) -> Finding:
    subject = f"volume claim {name}"
    claim = cluster.find(CLAIMS.path(cluster.namespace, name)) or own
    if claim is None:
        text = f"does not exist in namespace {cluster.namespace}"
        return problem(subject, text, "Create it, with the models on it, or name another in the values.")
    modes = (claim.get("status") or {}).get("accessModes") or claim["spec"].get("accessModes") or []
    if misuse := _misuse(subject, modes, uses):
        return misuse
    return ok(subject, "is bound") if _phase(claim) == "Bound" else _unbound(cluster, subject, claim)


def _misuse(subject: str, modes: Sequence[str], uses: Sequence[ClaimUse]) -> Finding | None:
    """The uses that a claim's access modes, if known, do not allow."""
    lasting = [use for use in uses if use.span is Span.LASTING]
    writers = [use for use in lasting if use.writes]
    said = ", ".join(modes)
    if not modes:
        return None
    if any(use.writes for use in uses) and not _WRITABLE & set(modes):
        text = f"is {said}, and {_users([use for use in uses if use.writes])} would write to it"
        return problem(
            subject, text, "Use a claim of ReadWriteMany, or fill this one elsewhere and leave out what writes."
        )
    if sum(use.pods for use in writers) > 1 and "ReadWriteMany" not in modes:
        text = f"is {said}, and up to {_users(writers)} would write to it"
        return problem(subject, text, "Use a claim of ReadWriteMany, such as of NFS or Filestore.")
    if sum(use.pods for use in lasting) > 1 and not _MANY & set(modes):
        text = f"is {said}: one node at a time may have it, and up to {_users(lasting)} would mount it"
        remedy = "Use a claim of ReadWriteMany, such as of NFS or Filestore; or once it is filled, one of ReadOnlyMany"
        return problem(subject, text, f"{remedy} made from a snapshot of it.")
    for use in uses:
        others = [one for one in uses if one is not use and not (use.span is one.span is Span.IN_TURN)]
        needed = {"ReadWriteMany"} if use.writes or any(one.writes for one in others) else _MANY
        crowded = use.pods + sum(one.pods for one in others) > 1
        if use.span is not Span.LASTING and crowded and not needed & set(modes):
            text = f"is {said}: one node at a time may have it, and up to {_users([use, *others])} would mount it"
            remedy = "Those on other nodes wait for them, a Job of an upgrade for the service, which does not end."
            return warning(subject, text, f"{remedy} Use a claim of ReadWriteMany, or keep all of them on one node.")
    return None


def _users(uses: Sequence[ClaimUse]) -> str:
    """`3 pods (gateway, gpu)`."""
    pods = sum(use.pods for use in uses)
    return f"{pods} pod{'s' if pods > 1 else ''} ({', '.join(use.user for use in uses)})"


def _phase(claim: Object) -> str:
    return str((claim.get("status") or {}).get("phase", "not created yet"))


def _unbound(cluster: Cluster, subject: str, claim: Object) -> Finding:
    wanted = claim["spec"].get("storageClassName")
    there = {one["metadata"]["name"] for one in cluster.items(STORAGE_CLASSES.path())}
    if wanted and wanted not in there:
        text = f"is {_phase(claim)}: there is no storage class {wanted!r}"
        return problem(subject, text, f"Use one of: {', '.join(sorted(there)) or 'none; ask who runs the cluster'}.")
    text = f"is {_phase(claim)}, of {f'storage class {wanted}' if wanted else 'the default storage class'}"
    name = claim["metadata"]["name"]
    return warning(subject, text, f"If it stays so: kubectl describe pvc -n {cluster.namespace} {name}")
