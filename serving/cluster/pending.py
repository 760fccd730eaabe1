"""Pending: why a pod does not run, with the remedy."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from serving.cluster.connection import Object
from serving.cluster.events import newest_about, words_of
from serving.cluster.needs import ACCELERATORS, TPU_TOPOLOGY

_TAINTED = re.compile(r"untolerated taint(?:\(s\))?(?: \{([^:}]+)[^}]*\})?")
_LIMIT_RANGE = re.compile(
    r"(?:maximum|minimum) [\w./-]+ usage per (?:Container|Pod) is .+"
    r"|must be less than or equal to [\w./-]+ limit of \S+"
)
"""Admission's messages on a limit range's bounds, and on a request above a limit that it adds."""
_ENOUGH = 200
"""Characters of a message that lists every constraint and field."""
_OF_KUBERNETES = ("node-role.kubernetes.io/", "node.kubernetes.io/")
"""Taints of control planes and of unhealthy nodes, which are for no pod."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Why something does not start.

    Attributes:
      name: of the pod, or of what cannot create pods.
      reason: what Kubernetes says, translated where it is a usual case.
    """

    name: str
    reason: str
    remedy: str


def why_pending(pod: Object, events: Iterable[Object] = ()) -> Pending | None:
    """Why a pod does not run; None if it does, or has ended.

    Args:
      pod: the pod.
      events: warnings of the namespace; those of the pod count.
    """
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _unschedulable(pod, condition.get("message") or "no reason given")
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in statuses:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", "PodInitializing") not in ("PodInitializing", "ContainerCreating"):
            return _waiting(pod, container, waiting)
    if status.get("phase") != "Pending":
        return None
    event = newest_about(events, "Pod", name)
    return _translate(name, words_of(event)) if event else Pending(name, "is starting", "Wait a little.")


def why_not_created(event: Object) -> Pending:
    """The reason in a warning about a RayCluster or RayService, whose pods do not exist yet."""
    about = event["involvedObject"]
    kind, name = about["kind"], about["name"]
    return _translate(f"{kind}/{name}", words_of(event), f"See more: kubectl describe {kind.lower()} {name}")


def _unschedulable(pod: Object, message: str) -> Pending:
    """The scheduler's message, which has for each node the first reason against it.

    A taint comes before all others: the nodes that the pod is meant for may be just those with one.
    """
    name = pod["metadata"]["name"]
    found = [taint or "that is not tolerated" for taint in _TAINTED.findall(message)]
    taints = [taint for taint in found if not taint.startswith(_OF_KUBERNETES)]
    others = _of_untainted(pod, message)
    if not taints:
        return others or _translate(name, message)
    reason = f"nodes have the taint {', '.join(dict.fromkeys(taints))}"
    if others is None:
        return Pending(name, reason, "Tolerate it in the values, or use other nodes.")
    remedy = f"Tolerate it in the values. If other nodes are meant: {others.remedy[0].lower()}{others.remedy[1:]}"
    return Pending(name, f"{reason}; apart from those, {others.reason}", remedy)


def _of_untainted(pod: Object, message: str) -> Pending | None:
    """The reason against nodes without a taint, in the usual cases."""
    name, selector = pod["metadata"]["name"], pod["spec"].get("nodeSelector") or {}
    if "node affinity/selector" in message and "Insufficient" not in message:
        topology = selector.get(TPU_TOPOLOGY)
        wanted = f"TPU topology {topology}" if topology else ", ".join(f"{k}={v}" for k, v in selector.items())
        return Pending(name, f"no node of {wanted or 'the wanted kind'}", "Add a node pool of that kind.")
    return _translate_shortage(name, message)


def _waiting(pod: Object, container: Object, waiting: Object) -> Pending:
    name, reason, message = pod["metadata"]["name"], waiting["reason"], waiting.get("message") or ""
    if reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName"):
        return Pending(
            name,
            f"the image {container.get('image')} cannot be pulled",
            "Check its name and tag, and the imagePullSecrets of the registry.",
        )
    if reason == "CrashLoopBackOff":
        last = ((container.get("lastState") or {}).get("terminated") or {}).get("exitCode")
        return Pending(
            name,
            f"{container['name']} ends again and again" + (f", last with exit status {last}" if last else ""),
            f"Read its logs: kubectl logs -n {pod['metadata']['namespace']} {name} -c {container['name']} --previous",
        )
    return _translate(name, f"{reason}: {message}")


def _translate(name: str, message: str, more: str | None = None) -> Pending:
    """The usual messages of scheduler, kubelet and admission in plain words; others as they are."""
    if short := _translate_shortage(name, message):
        return short
    if quota := re.search(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)", message):
        used = f"{quota[2]} wanted, {quota[3]} used, {quota[4]} allowed"
        return Pending(name, f"quota {quota[1]} is exceeded: {used}", "Ask for more, or lower the replicas.")
    if claim := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        return Pending(name, f"there is no volume claim {claim[1]}", "Create it, or name another in the values.")
    if "unbound immediate PersistentVolumeClaims" in message:
        return Pending(name, "a volume claim is not bound", "See why: kubectl get pvc, kubectl describe pvc")
    if missing := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        return Pending(name, f"there is no {missing[1]} {missing[2]}", "Create it, or name another in the values.")
    if "security context constraint" in message:
        reason = f"OpenShift's constraints do not admit its user or group: {message[:_ENOUGH]}"
        return Pending(name, reason, "Let the cluster choose the user: runAsUser: null in the values.")
    if limit := _LIMIT_RANGE.search(message):
        remedy = "See kubectl get limitrange -o yaml, and codegemma cluster doctor, which compares it with all pods."
        return Pending(name, f"a limit range does not admit it: {limit[0]}", remedy)
    return Pending(name, message.rstrip("."), more or f"See more: kubectl describe pod {name}")


def _translate_shortage(name: str, message: str) -> Pending | None:
    for accelerator in ACCELERATORS:
        if f"Insufficient {accelerator}" in message:
            return Pending(name, f"all {accelerator} are taken", "Free some, or add nodes with them.")
    if short := re.search(r"Insufficient ([\w./-]+)", message):
        return Pending(name, f"no node has enough {short[1]} left", "Add nodes, or lower what the pod asks for.")
    return None
