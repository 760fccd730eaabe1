"""Why a pod does not run: what Kubernetes says, and what it means."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.cluster.events import time_of
from serving.cluster.pending import why_not_created, why_pending
from tests.cluster import release

NODES = "0/7 nodes are available: "


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"{NODES}7 Insufficient google.com/tpu.", "all google.com/tpu are taken"),
        (f"{NODES}3 Insufficient cpu, 4 node(s) didn't match Pod's node affinity/selector.", "enough cpu left"),
        (f"{NODES}7 node(s) had untolerated taint {{google.com/tpu: present}}.", "nodes have the taint google.com/tpu"),
        (
            f"{NODES}4 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint "
            "{dedicated: x}, 2 node(s) had untolerated taint {spot: true}.",
            "nodes have the taint dedicated, spot; apart from those, no node of the wanted kind",
        ),
        (
            f"{NODES}1 node(s) had untolerated taint {{dedicated: x}}, 6 Insufficient nvidia.com/gpu.",
            "nodes have the taint dedicated; apart from those, all nvidia.com/gpu are taken",
        ),
        (
            f"{NODES}1 node(s) had untolerated taint(s), 6 node(s) didn't match Pod's node affinity/selector.",
            "nodes have the taint that is not tolerated; apart from those, no node of the wanted kind",
        ),
        (f'{NODES}persistentvolumeclaim "models" not found.', "there is no volume claim models"),
        (f"{NODES}pod has unbound immediate PersistentVolumeClaims.", "a volume claim is not bound"),
        ("a new message of a later Kubernetes.", "a new message of a later Kubernetes"),
    ],
)
def test_the_scheduler_said(message: str, reason: str) -> None:
    conditions = [release.condition("PodScheduled", "False", "Unschedulable", message)]
    why = why_pending(release.pod("chat-0", "chat", phase="Pending", conditions=conditions))
    assert why is not None and why.name == "chat-0" and reason in why.reason and why.remedy


def test_a_tainted_control_plane_is_not_the_node_that_is_meant() -> None:
    tainted = "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }"
    message = f"{NODES}{tainted}, 6 node(s) didn't match Pod's node affinity/selector."
    conditions = [release.condition("PodScheduled", "False", "Unschedulable", message)]
    why = why_pending(release.pod("chat-0", "chat", phase="Pending", conditions=conditions))
    assert why is not None and why.reason == "no node of the wanted kind"


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ({"reason": "ImagePullBackOff", "message": "back-off"}, "the image codegemma:x cannot be pulled"),
        ({"reason": "CrashLoopBackOff"}, "ray-worker ends again and again, last with exit status 1"),
        (
            {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'},
            "there is no secret keys",
        ),
    ],
)
def test_the_kubelet_said(waiting: dict[str, Any], reason: str) -> None:
    container = {"name": "ray-worker", "image": "codegemma:x", "state": {"waiting": waiting}}
    container["lastState"] = {"terminated": {"exitCode": 1}}
    pod = release.pod("chat-0", "chat", phase="Pending", containerStatuses=[container])
    pod["metadata"]["namespace"] = "codegemma"
    why = why_pending(pod)
    assert why is not None and why.reason == reason


def test_an_init_container_counts_too() -> None:
    fetching = {"name": "models", "image": "fetch:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
    why = why_pending(release.pod("chat-0", "chat", phase="Pending", initContainerStatuses=[fetching]))
    assert why is not None and why.reason == "the image fetch:1 cannot be pulled"


def test_a_pod_that_waits_for_a_volume_is_explained_by_its_event() -> None:
    events = [
        release.warning("Pod", "chat-1", "about another pod"),
        release.warning("Pod", "chat-0", 'MountVolume.SetUp failed for volume "keys": secret "keys" not found'),
    ]
    creating = {"name": "ray-worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pod = release.pod("chat-0", "chat", phase="Pending", containerStatuses=[creating])
    why = why_pending(pod, events)
    assert why is not None and why.reason == "there is no secret keys"
    why = why_pending(pod)
    assert why is not None and why.reason == "is starting"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"lastTimestamp": "2026-01-01T00:00:09Z"}, {"lastTimestamp": "2026-01-01T00:00:10Z"}),
        ({"eventTime": "2026-01-01T00:00:09.000000Z"}, {"lastTimestamp": "2026-01-01T00:00:10Z"}),
        (
            {"lastTimestamp": None, "eventTime": "2026-01-01T00:00:10.000000Z"},
            {"lastTimestamp": None, "eventTime": "2026-01-01T00:00:10.500000Z"},
        ),
        (
            {"lastTimestamp": "2026-01-01T00:00:10Z"},
            {
                "eventTime": "2026-01-01T00:00:01.000000Z",
                "series": {"count": 9, "lastObservedTime": "2026-01-01T00:00:11.000000Z"},
            },
        ),
        ({}, {"lastTimestamp": "2026-01-01T00:00:10Z"}),
    ],
)
def test_of_several_events_the_newest_counts_wherever_it_is_in_the_list(
    older: dict[str, Any], newer: dict[str, Any]
) -> None:
    creating = {"name": "ray-worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pod = release.pod("chat-0", "chat", phase="Pending", containerStatuses=[creating])
    events = [
        release.warning("Pod", "chat-0", 'secret "new" not found', 2, **newer),
        release.warning("Pod", "chat-0", 'secret "old" not found', 1, **older),
    ]
    for listed in (events, events[::-1]):
        why = why_pending(pod, listed)
        assert why is not None and why.reason == "there is no secret new"


def test_an_event_without_a_time_of_its_own_is_as_old_as_its_object() -> None:
    event = release.warning("Pod", "chat-0", "")
    event["metadata"]["creationTimestamp"] = "2026-01-01T00:00:10Z"
    assert time_of(event) == datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


def test_a_running_pod_is_not_pending() -> None:
    assert why_pending(release.pod("chat-0", "chat")) is None


_POD = 'Failed to create worker Pod codegemma/, pods "chat-0" is forbidden: '


@pytest.mark.parametrize(
    ("message", "reason", "remedy"),
    [
        (
            f'{_POD}unable to validate against any security context constraint: [provider "restricted-v2": '
            ".containers[0].runAsUser: Invalid value: 1000: must be in the ranges: [1000650000, 1000659999]]",
            "OpenShift's constraints do not admit its user or group",
            "runAsUser: null",
        ),
        (
            f"{_POD}maximum cpu usage per Container is 4, but limit is 8",
            "a limit range does not admit it: maximum cpu usage per Container is 4, but limit is 8",
            "kubectl get limitrange",
        ),
        (
            'Pod "chat-0" is invalid: spec.containers[0].resources.requests: Invalid value: "20Gi": must be less than '
            "or equal to ephemeral-storage limit of 1Gi",
            "a limit range does not admit it: must be less than or equal to ephemeral-storage limit of 1Gi",
            "kubectl get limitrange",
        ),
        (
            f"{_POD}exceeded quota: team, requested: limits.cpu=8, used: limits.cpu=12, limited: limits.cpu=16",
            "quota team is exceeded: limits.cpu=8 wanted, limits.cpu=12 used, limits.cpu=16 allowed",
            "Ask for more",
        ),
        (
            "a message of a later KubeRay.",
            "a message of a later KubeRay",
            "kubectl describe raycluster codegemma-abc12",
        ),
    ],
)
def test_pods_that_were_not_created(message: str, reason: str, remedy: str) -> None:
    why = why_not_created(release.warning("RayCluster", "codegemma-abc12", message))
    assert why.name == "RayCluster/codegemma-abc12" and reason in why.reason and remedy in why.remedy
