"""A release as a cluster has it: its objects, and the manifests it came from."""

from collections.abc import Sequence
from typing import Any

import yaml

RELEASE = "codegemma"
ACTIVE = "codegemma-abc12"
CONTAINERS = [{"name": "ray-worker", "image": "codegemma-serving:0.1.0-tpu"}]
V5E = {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "2x4"}


def worker_group(name: str, replicas: int, *, most: int | None = None, hosts: int = 1, **pod: Any) -> dict[str, Any]:
    container = {"name": "ray-worker", "image": "codegemma-serving:0.1.0-tpu"} | pod.pop("container", {})
    return {
        "groupName": name,
        "replicas": replicas,
        "minReplicas": replicas,
        "maxReplicas": most or replicas,
        "numOfHosts": hosts,
        "template": {"spec": {"containers": [container], **pod}},
    }


def tpu_group(name: str = "chat", replicas: int = 1, most: int | None = None) -> dict[str, Any]:
    chips = {"google.com/tpu": "4"}
    return worker_group(
        name,
        replicas,
        most=most,
        hosts=2,
        nodeSelector=V5E,
        container={"resources": {"limits": chips, "requests": chips}},
    )


def service(*groups: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": RELEASE, "labels": {"app.kubernetes.io/instance": RELEASE}},
        "spec": {
            "serveConfigV2": "applications: []",
            "rayClusterConfig": {
                "headGroupSpec": {"template": {"spec": {"containers": [{"name": "ray-head"}]}}},
                "workerGroupSpecs": list(groups or (worker_group("gateway", 2), tpu_group())),
            },
        },
        "status": {
            "observedGeneration": 1,
            "conditions": [condition("Ready", "True", "NonZeroServeEndpoints", "")],
            "activeServiceStatus": {
                "rayClusterName": ACTIVE,
                "applicationStatuses": {
                    "codegemma": {
                        "status": "RUNNING",
                        "serveDeploymentStatuses": {
                            "Gateway": {"status": "HEALTHY"},
                            "codegemma-7b-it": {"status": "HEALTHY"},
                        },
                    }
                },
            },
            **status,
        },
    }


def ray_cluster(*groups: dict[str, Any]) -> dict[str, Any]:
    groups = groups or (worker_group("gateway", 2), tpu_group())
    return {"metadata": {"name": ACTIVE}, "spec": {"workerGroupSpecs": list(groups)}}


def pod(name: str, group: str, *, phase: str = "Running", node: str = "node-1", **changes: Any) -> dict[str, Any]:
    ready = "True" if phase == "Running" else "False"
    containers = changes.pop("containers", CONTAINERS)
    running = [{"name": one["name"], "image": one.get("image", ""), "state": {"running": {}}} for one in containers]
    labels = {"app.kubernetes.io/instance": RELEASE, "ray.io/cluster": ACTIVE, "ray.io/group": group}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": containers, "nodeName": node} | changes.pop("spec", {}),
        "status": {
            "phase": phase,
            "conditions": [condition("Ready", ready)],
            "containerStatuses": running,
            **changes,
        },
    }


def node(name: str, chips: int = 0, resource: str = "google.com/tpu", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "conditions": [condition("Ready", "True")],
            "allocatable": {"cpu": "24", "memory": "100Gi"} | ({resource: str(chips)} if chips else {}),
        },
    }


def tpu_node(name: str, topology: str = "2x4", chips: int = 4) -> dict[str, Any]:
    return node(name, chips, **(V5E | {"cloud.google.com/gke-tpu-topology": topology}))


def operator(
    image: str = "quay.io/kuberay/operator:v1.6.1",
    ready: str = "True",
    name: str = "kuberay-operator",
    args: Sequence[str] = (),
) -> dict[str, Any]:
    """The operator's pod; KubeRay's kustomization names the application `kuberay`."""
    return {
        "metadata": {
            "name": "kuberay-operator-0",
            "namespace": "kuberay-system",
            "labels": {
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/component": "kuberay-operator",
            },
        },
        "spec": {"containers": [{"name": "kuberay-operator", "image": image, "args": list(args)}]},
        "status": {"conditions": [condition("Ready", ready)]},
    }


def crd(*fields: str) -> dict[str, Any]:
    """The definition of RayServices with these fields of rayClusterConfig; a dot is before a field of a field."""
    cluster: dict[str, Any] = {}
    for field in fields:
        node = cluster
        for name in field.split("."):
            node = node.setdefault("properties", {}).setdefault(name, {"type": "object"})
    schema = {"properties": {"spec": {"properties": {"rayClusterConfig": cluster}}}}
    return {
        "metadata": {"name": "rayservices.ray.io"},
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    }


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def warning(kind: str, name: str, message: str, number: int = 1, **times: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.{number}"},
        "type": "Warning",
        "message": message,
        "involvedObject": {"kind": kind, "name": name},
        **times,
    }


def manifests(*objects: dict[str, Any]) -> str:
    """Objects in YAML; without any, the release's RayService."""
    return yaml.safe_dump_all(objects or [{"apiVersion": "ray.io/v1", "kind": "RayService"} | service()])
