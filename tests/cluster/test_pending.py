"""Why a pod does not run: what Kubernetes says, and what it means."""

from typing import Any

import pytest

from serving.cluster.pending import why_pending
from tests.cluster import release

NODES = "0/7 nodes are available: "


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"{NODES}7 Insufficient google.com/tpu.", "all google.com/tpu are taken"),
        (f"{NODES}3 Insufficient cpu, 4 node(s) didn't match Pod's node affinity/selector.", "enough cpu left"),
        (f"{NODES}7 node(s) had untolerated taint {{google.com/tpu: present}}.", "nodes have the taint google.com/tpu"),
        (f'{NODES}persistentvolumeclaim "models" not found.', "there is no volume claim models"),
        (f"{NODES}pod has unbound immediate PersistentVolumeClaims.", "a volume claim is not bound"),
        ("a new message of a later Kubernetes.", "a new message of a later Kubernetes"),
    ],
)
def test_the_scheduler_said(message: str, reason: str) -> None:
    conditions = [release.condition("PodScheduled", "False", "Unschedulable", message)]
    why = why_pending(release.pod("chat-0", "chat", phase="Pending", conditions=conditions))
    assert why is not None and why.name == "chat-0" and reason in why.reason and why.remedy


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


def test_a_running_pod_is_not_pending() -> None:
    assert why_pending(release.pod("chat-0", "chat")) is None
