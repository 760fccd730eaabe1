"""What a run does: installs the demo, looks at it from all sides, and changes it while requests go on."""

import copy
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import yaml

from tests.helm.chart import CHART
from tests.pods import checks
from tests.pods.clock import Clock
from tests.pods.load import load
from tests.pods.manifest import Manifest, render
from tests.pods.release import Release

_PROFILE = "demo"
_LIMIT_S = 600.0
_METRICS_S = 60.0
_ALIAS = "second"


def first_release() -> Manifest:
    """The demo, its group on half of this machine's processors: one that starts leaves the rest to one that serves."""
    return render(_PROFILE, _worker())


def _second_release(**values: object) -> Manifest:
    """The same, where the model has another name as well: another group and other Gateways, with the same answers."""
    (model,) = copy.deepcopy(_profile()["serving"]["models"])
    model["aliases"] = [_ALIAS]
    model["step_timeout_s"] = 90.0
    return render(_PROFILE, _worker() | {"serving": {"models": [model]}} | values)


def _worker() -> dict[str, Any]:
    (worker,) = copy.deepcopy(_profile()["workers"])
    worker["cpu"] = min(worker["cpu"], max(1, (os.cpu_count() or 1) // 2))
    return {"workers": [worker]}


def _profile() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / f"values-{_PROFILE}.yaml").read_text())
    return values


async def install(clock: Clock, release: Release, manifest: Manifest) -> None:
    """Applies the RayService, and checks what holds of it."""
    release.operator.apply(manifest.ray_service)

    async def ready() -> bool:
        return bool(release.operator.settled and release.http.endpoints and release.grpc.endpoints)

    await clock.until("ready, behind both Services", ready, release.operator.describe, _LIMIT_S)
    pods = list(release.node.pods)
    await checks.check_isolation(pods)
    clock.say("isolation: user 1000, no capabilities, no new privileges, seccomp, a root file system that is read-only")
    await checks.check_keys(release.http.address, release.grpc.address)
    clock.say("keys: nothing is answered without one, by HTTP and by gRPC")
    await checks.check_protocols(release.http.address, release.grpc.address, release.key)
    clock.say("protocols: HTTP and gRPC, whole and streamed; grpc.health.v1")

    async def counted() -> bool:
        return not await checks.missing_metrics(pods)

    await clock.until("metrics: Ray's, ours and HAProxy's", counted, lambda: "", _METRICS_S)
    checks.check_logs(pods, release.key)
    clock.say("logs: JSON; no prompt and no key in them or in any other file of the pods")


async def change_in_place(clock: Clock, release: Release) -> None:
    """Another Serve config and back: replicas are replaced in the pods that are there."""
    async with _under_load(clock, release, "upgrade in place"):
        await _apply(clock, release, _second_release(), alias=True)
    async with _under_load(clock, release, "rollback in place"):
        await _apply(clock, release, first_release(), alias=False)


async def change_pods(clock: Clock, release: Release) -> None:
    """Other pods and back: each time a new cluster takes the place of the old one."""
    second = _second_release(podAnnotations={"example.com/revision": "second"})
    async with _under_load(clock, release, "upgrade by a new cluster"):
        await _apply(clock, release, second, alias=True)
        await _until_alone(clock, release)
    async with _under_load(clock, release, "rollback by a new cluster"):
        await _apply(clock, release, first_release(), alias=False)
        await _until_alone(clock, release)


async def leave(clock: Clock, release: Release) -> None:
    """The gateway pod is deleted, as by a node that is drained."""
    pod = next(pod for pod in release.gateways() if pod.ready)
    async with _under_load(clock, release, "a gateway pod leaves"):
        release.node.delete(pod)

        async def replaced() -> bool:
            return pod not in release.node.pods and any(each.ready for each in release.gateways())

        await clock.until(f"{pod.name} left", replaced, release.operator.describe, _LIMIT_S)


def check_end(release: Release) -> None:
    """Nothing failed on the way but pods that did not start, which are started anew as on a cluster.

    Raises:
      CheckError: a pod failed that was ready.
    """
    for pod in (*release.node.pods, *release.node.gone):
        if pod.failure and pod.was_ready:
            raise checks.CheckError(f"{pod.name}: {pod.failure}")


async def _apply(clock: Clock, release: Release, manifest: Manifest, *, alias: bool) -> None:
    """Applies a manifest, and waits until the service answers by it: to the model's other name, or no more."""
    release.operator.apply(manifest.ray_service)

    async def applied() -> bool:
        names = await checks.models(release.http.address, release.key)
        return release.operator.settled and (_ALIAS in names) == alias

    await clock.until("applied", applied, release.operator.describe, _LIMIT_S)


async def _until_alone(clock: Clock, release: Release) -> None:
    async def alone() -> bool:  # but for its head, which stays long enough for all others and has no requests
        leaving = [pod for pod in release.node.pods if pod.terminating and pod.labels["ray.io/node-type"] == "worker"]
        return release.operator.alone and not leaving

    await clock.until("the old cluster's Gateway and group left", alone, release.operator.describe, _LIMIT_S)


@asynccontextmanager
async def _under_load(clock: Clock, release: Release, text: str) -> AsyncIterator[None]:
    """Has requests go on meanwhile.

    Raises:
      CheckError: one failed, or an answer was another one.
    """
    clock.say(f"{text}, while requests go on")
    async with load(release.http.address, release.grpc.address, release.key) as seen:
        yield
    clock.say(f"{text}: {seen}")
    if faults := seen.faults():
        raise checks.CheckError("\n".join((f"{text}:", *faults)))
