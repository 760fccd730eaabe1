"""Containers of pods, with the one that KubeRay adds."""

from tests.helm.chart import Case, Object, ray_service


def containers(pod: Object, *, init: bool = True) -> list[Object]:
    """The containers of a pod, those that run before the others first, or without them."""
    return [*(pod["spec"].get("initContainers", []) if init else ()), *pod["spec"]["containers"]]


def autoscaler(case: Case) -> Object:
    """What KubeRay makes the autoscaler's container of, in the head's pod."""
    options: Object = ray_service(case)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    return {"name": "autoscaler", **options}
