"""What KubeRay's operator makes of a RayService: a RayCluster, and of that a head pod and worker pods.

By the rules of ray-operator 1.7.0, in controllers/ray/common/pod.go and controllers/ray/utils. The chart uses only some
of what KubeRay has; what it does not use is refused here, so that a change of the chart cannot go unnoticed.
"""

import copy
import json
from collections.abc import Iterator

from kubernetes.utils.quantity import parse_quantity

from tests.helm.chart import Object

_HEAD, _WORKER = "head", "worker"
_HEAD_GROUP = "headgroup"
_GCS_PORT, _METRICS_PORT, _AGENT_PORT = "6379", "8080", "52365"
_CLUSTER, _GROUP, _KIND = "ray.io/cluster", "ray.io/group", "ray.io/node-type"
_SHELL = ["/bin/bash", "-c", "--"]
_WITH_VALUE = ("log-color", "include-dashboard", "include-log-monitor")
"""Options of `ray start` that take `true` or `false`; every other boolean is an option without a value."""
_SERVICE_ENVIRONMENT = {
    "RAY_timeout_ms_task_wait_for_death_info": "0",
    "RAY_gcs_server_request_timeout_seconds": "5",
    "RAY_SERVE_KV_TIMEOUT_S": "5",
}
"""What only clusters of a RayService get."""


class UnsupportedError(Exception):
    """A field of a RayService whose rules are not written down here."""


def ray_cluster(service: Object, suffix: str) -> Object:
    """The RayCluster that the operator creates for a RayService.

    Args:
      service: the RayService.
      suffix: five letters or digits, drawn by the operator.

    Raises:
      UnsupportedError: the RayService uses something whose rules are not here.
    """
    spec = copy.deepcopy(service["spec"]["rayClusterConfig"])
    for name in _unsupported(spec):
        raise UnsupportedError(f"rayClusterConfig.{name}: tests/pods/kuberay.py has no rule for it; add KubeRay's.")
    labels = {"ray.io/originated-from-cr-name": service["metadata"]["name"], "ray.io/originated-from-crd": "RayService"}
    metadata = {
        "name": f"{service['metadata']['name']}-{suffix}",
        "namespace": service["metadata"]["namespace"],
        "labels": labels,
    }
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": spec}


def compared(service: Object) -> str:
    """What the operator compares to know whether a RayService wants a new cluster: not sizes, and no tolerations."""
    spec = copy.deepcopy(service["spec"]["rayClusterConfig"])
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        group["template"]["spec"].pop("tolerations", None)
        for name in ("replicas", "minReplicas", "maxReplicas", "scaleStrategy"):
            group.pop(name, None)
    return json.dumps(spec, sort_keys=True)


def wanted(group: Object) -> int:
    """How many pods a worker group is to have."""
    least, most = int(group["minReplicas"]), int(group["maxReplicas"])
    return min(max(int(group.get("replicas", least)), least), most)


def head_service(cluster: Object) -> str:
    """The full name under which the cluster's pods find its head."""
    return f"{cluster['metadata']['name']}-head-svc.{cluster['metadata']['namespace']}.svc.cluster.local"


def head_pod(cluster: Object, suffix: str) -> Object:
    """The head's pod; `suffix` is drawn by Kubernetes."""
    spec = cluster["spec"]
    pod = _pod(cluster, spec["headGroupSpec"], _HEAD, _HEAD_GROUP, f"{cluster['metadata']['name']}-head-{suffix}")
    ray = pod["spec"]["containers"][0]
    parameters = dict(spec["headGroupSpec"]["rayStartParams"])
    parameters.setdefault("dashboard-host", "0.0.0.0")
    if spec.get("enableInTreeAutoscaling"):
        parameters["no-monitor"] = "true"  # the container beside it takes that part
        pod["spec"]["containers"].append(_autoscaler(cluster, ray))
        pod["spec"]["restartPolicy"] = "Never"
        ray["env"].append({"name": "RAY_enable_autoscaler_v2", "value": "true"})
    _authenticate(cluster, ray)
    _start(ray, _HEAD, parameters, f"127.0.0.1:{_GCS_PORT}")
    _add(ray, "RAY_USAGE_STATS_EXTRA_TAGS", "kuberay_version=v1.7.0;kuberay_crd=RayService")
    return pod


def worker_pod(cluster: Object, group: Object, suffix: str) -> Object:
    """A pod of a worker group; `suffix` is drawn by Kubernetes."""
    name = f"{cluster['metadata']['name']}-{group['groupName']}-worker-{suffix}"
    pod = _pod(cluster, group, _WORKER, group["groupName"], name)
    ray = pod["spec"]["containers"][0]
    host = head_service(cluster)
    address = f"{host}:{_GCS_PORT}"
    waits = {
        "name": "wait-gcs-ready",
        **{name: copy.deepcopy(ray[name]) for name in ("image", "env", "securityContext", "volumeMounts")},
        "command": _SHELL,
        "args": [f"until ray health-check --address {address} > /dev/null 2>&1; do sleep 5; done"],
        "resources": {"limits": {"cpu": "200m", "memory": "256Mi"}},
    }
    pod["spec"]["initContainers"].append(waits)
    if cluster["spec"].get("enableInTreeAutoscaling"):
        pod["spec"]["restartPolicy"] = "Never"
    for container in (ray, waits):
        _authenticate(cluster, container)
    for container in (*pod["spec"]["initContainers"], ray):
        container.setdefault("env", [])
        container["env"] += [{"name": "FQ_RAY_IP", "value": host}, {"name": "RAY_IP", "value": host.split(".")[0]}]
    _start(ray, _WORKER, {"address": address} | group["rayStartParams"], address)
    return pod


def auth_secret(cluster: Object, token: str) -> tuple[str, dict[str, str]]:
    """Name and content of the secret with the token that Ray's processes want of each other."""
    return cluster["metadata"]["name"], {"auth_token": token}


def _unsupported(spec: Object) -> Iterator[str]:
    """Fields of a RayCluster with rules of KubeRay's that are not here."""
    yield from spec.keys() & {
        "gcsFaultToleranceOptions",
        "tlsOptions",
        "headServiceAnnotations",
        "historyServerOptions",
    }
    if spec["autoscalerOptions"].get("version") != "v2":
        yield "autoscalerOptions.version"
    for index, group in enumerate((spec["headGroupSpec"], *spec["workerGroupSpecs"])):
        where = f"workerGroupSpecs[{index - 1}]" if index else "headGroupSpec"
        yield from (f"{where}.{name}" for name in group.keys() & {"resources", "labels", "suspend"})
        yield from (f"{where}.rayStartParams.{name}" for name in group["rayStartParams"].keys() & {"plasma-directory"})
        if group.get("numOfHosts", 1) > 1:
            yield f"{where}.numOfHosts"
        ray = group["template"]["spec"]["containers"][0]
        yield from (f"{where}.{name}" for name in ray.keys() & {"command", "args"})
        for name in ray["resources"]["limits"].keys() - {"cpu", "memory"}:
            yield f"{where}...limits.{name}"  # accelerators
        if not any(mount["mountPath"] == "/dev/shm" for mount in ray["volumeMounts"]):
            yield f"{where}...volumeMounts: none at /dev/shm"
        for probe in {"livenessProbe", "readinessProbe"} - ray.keys():
            yield f"{where}...{probe}: none"


def _pod(cluster: Object, group: Object, kind: str, group_name: str, name: str) -> Object:
    template = copy.deepcopy(group["template"])
    own = {_KIND: kind, _GROUP: group_name, _CLUSTER: cluster["metadata"]["name"]}
    labels = {
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{cluster['metadata']['name']}-{kind}",
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
        **template["metadata"].get("labels", {}),
        "ray.io/serve": "false" if kind == _HEAD else "true",
    }
    metadata = template["metadata"] | {
        "name": name,
        "namespace": cluster["metadata"]["namespace"],
        "labels": labels | own,
    }
    template["spec"].setdefault("initContainers", [])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _authenticate(cluster: Object, container: Object) -> None:
    """Gives a container the cluster's token."""
    if cluster["spec"].get("authOptions", {}).get("mode") != "token":
        return
    name, _ = auth_secret(cluster, "")
    _add(container, "RAY_AUTH_MODE", "token")
    secret = {"secretKeyRef": {"name": name, "key": "auth_token"}}
    container["env"].append({"name": "RAY_AUTH_TOKEN", "valueFrom": secret})


def _start(ray: Object, kind: str, parameters: dict[str, str], address: str) -> None:
    """Gives Ray's container its command and the environment that goes with it."""
    limits = ray["resources"]["limits"]
    parameters = {
        "metrics-export-port": _METRICS_PORT,
        "dashboard-agent-listen-port": _AGENT_PORT,
        "num-cpus": str(-(-parse_quantity(limits["cpu"]) // 1)),
        "memory": str(int(parse_quantity(limits["memory"]))),
        **parameters,
        "block": "true",
    }
    command = f"ray start{' --head' if kind == _HEAD else ''} {_options(parameters)}"
    ray["command"] = _SHELL
    ray["args"] = [f"ulimit -n ${{RAY_START_ULIMIT_OPEN_FILES:-65536}}; {command}"]
    for name, field in (
        ("RAY_CLUSTER_NAME", f"metadata.labels['{_CLUSTER}']"),
        ("RAY_CLUSTER_NAMESPACE", "metadata.namespace"),
        ("RAY_CLOUD_INSTANCE_ID", "metadata.name"),
        ("RAY_NODE_TYPE_NAME", f"metadata.labels['{_GROUP}']"),
    ):
        ray["env"].append({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}})
    _add(ray, "KUBERAY_GEN_RAY_START_CMD", command)
    _add(ray, "RAY_PORT", _GCS_PORT)
    for name, value in _SERVICE_ENVIRONMENT.items():
        _add(ray, name, value)
    _add(ray, "RAY_ADDRESS", address)
    _add(ray, "RAY_USAGE_STATS_KUBERAY_IN_USE", "1")
    _add(ray, "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE", "1")


def _options(parameters: dict[str, str]) -> str:
    """The options of `ray start`, in the order of their names."""
    words = []
    for name, value in sorted(parameters.items()):
        if value.lower() not in ("true", "false") or name in _WITH_VALUE:
            words.append(f"--{name}={value}")
        elif value.lower() == "true":
            words.append(f"--{name}")
    return " ".join(words)


def _add(container: Object, name: str, value: str) -> None:
    """Sets a variable that the pod's template may set otherwise."""
    if all(each["name"] != name for each in container["env"]):
        container["env"].append({"name": name, "value": value})


def _autoscaler(cluster: Object, ray: Object) -> Object:
    """The container of Ray's autoscaler, beside the head's."""
    options = cluster["spec"]["autoscalerOptions"]
    command = "ray kuberay-autoscaler --cluster-name $(RAY_CLUSTER_NAME) --cluster-namespace $(RAY_CLUSTER_NAMESPACE)"
    fields = {
        "RAY_CLUSTER_NAME": f"metadata.labels['{_CLUSTER}']",
        "RAY_CLUSTER_NAMESPACE": "metadata.namespace",
        "RAY_HEAD_POD_NAME": "metadata.name",
    }
    environment = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}} for name, field in fields.items()]
    environment += [
        {"name": "KUBERAY_CRD_VER", "value": "v1"},
        {"name": "KUBERAY_GEN_AUTOSCALER_START_CMD", "value": command},
    ]
    container = {
        "name": "autoscaler",
        "image": options.get("image", ray["image"]),
        "command": _SHELL,
        "args": [command],
        "env": environment,
    }
    _authenticate(cluster, container)
    container["env"] += options.get("env", [])
    for name in ("resources", "securityContext", "volumeMounts", "envFrom"):
        if name in options:
            container[name] = copy.deepcopy(options[name])
    return container
