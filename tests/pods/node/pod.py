"""A pod on this machine: what a kubelet and a container runtime make of its specification."""

import asyncio
import json
import signal
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path

from tests.helm.chart import Object
from tests.pods.node import container as containers
from tests.pods.node import probe
from tests.pods.node.command import run
from tests.pods.node.container import Container, Sandbox
from tests.pods.node.environment import environment_of
from tests.pods.node.folder import FOLDER
from tests.pods.node.image import Image
from tests.pods.node.network import PodNetwork
from tests.pods.node.volumes import Texts, Volumes


class Phase(Enum):
    """Where a pod is in its life."""

    PENDING = "Pending"
    RUNNING = "Running"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"


class Pod:
    """A pod.

    Attributes:
      name: of it.
      specification: of it, with metadata.
      ip: its address.
      folder: of its files.
      phase: where it is in its life.
      ready: whether its readiness probes passed last.
      was_ready: whether they ever did.
      why_not_ready: what they said otherwise.
      terminating: whether it was deleted, and has time left to end by itself.
      failure: why it failed.
    """

    def __init__(
        self,
        specification: Object,
        number: int,
        image: Image,
        turn: asyncio.Lock,
        *,
        hosts: Mapping[str, str],
        variables: Mapping[str, str],
        secrets: Texts,
        config_maps: Texts,
        tokens: Texts,
    ) -> None:
        """Makes its sandbox; nothing runs in it yet.

        Args:
          specification: the pod.
          number: of its network, 2 to 254.
          image: of all its containers.
          turn: to start, held until its startup probes have passed.
          hosts: addresses by name, as the cluster's DNS has them.
          variables: that the kubelet sets everywhere.
          secrets: there are.
          config_maps: there are.
          tokens: of service accounts.
        """
        self.specification = specification
        self.name: str = specification["metadata"]["name"]
        self.folder = FOLDER / "pods" / self.name
        self.phase = Phase.PENDING
        self.ready = self.was_ready = self.terminating = False
        self.why_not_ready: str | None = "it has not started"
        self.failure: str | None = None
        self._spec: Object = specification["spec"]
        self._image, self._turn = image, turn
        self._variables, self._secrets = variables, secrets
        self._network = PodNetwork(number)
        self.ip = self._network.ip
        self._running: dict[str, Container] = {}
        self.folder.mkdir(parents=True)
        self._volumes = Volumes(
            self.folder / "volumes", specification, secrets=secrets, config_maps=config_maps, tokens=tokens
        )
        self._sandbox = Sandbox(self.name, self._namespaces(), self._files(hosts))

    async def live(self) -> None:
        """Starts the containers in their order, probes them, and returns when Ray's has ended."""
        try:
            await self._initialize()
            async with self._turn:
                if self.terminating:
                    self.phase = Phase.FAILED
                    return
                main = [await self._start(each) for each in self._spec["containers"]]
                self.phase = Phase.RUNNING
                await asyncio.gather(*map(self._pass_startup, self._spec["containers"], main))
            async with asyncio.TaskGroup() as group:
                probes = [
                    group.create_task(self._probe(each, container))
                    for each, container in zip(self._spec["containers"], main, strict=True)
                ]
                status = await main[0].ended()  # Ray's: the operator goes by this one, whatever runs beside it
                for task in probes:
                    task.cancel()
            if status and not self.terminating:
                self.failure = self.failure or f"{main[0].name} ended with {status}\n{main[0].tail()}"
            self.phase = Phase.FAILED if status else Phase.SUCCEEDED
        except probe.ProbeError as error:
            self.failure, self.phase = str(error), Phase.FAILED
        finally:
            self.ready = False

    async def delete(self) -> None:
        """Ends it as Kubernetes does: preStop, SIGTERM, and SIGKILL when its grace period is over."""
        self.terminating = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._spec["terminationGracePeriodSeconds"]):
                await asyncio.gather(*(self._stop(each) for each in self._spec["containers"]))
                for each in self._spec.get("initContainers", ()):
                    await self._stop(each)
        await self.end()

    async def end(self) -> None:
        """Ends it at once; returns when nothing runs in it."""
        self.kill()
        await asyncio.gather(*(container.ended() for container in self._running.values()))

    def kill(self) -> None:
        """Has it end at once."""
        self.terminating = True
        for container in self._running.values():
            container.signal(signal.SIGKILL)

    def remove(self) -> None:
        """Removes its network; its files stay, for they have its logs."""
        self._network.remove()

    @property
    def labels(self) -> Mapping[str, str]:
        """By which Services and others select it."""
        labels: dict[str, str] = self.specification["metadata"]["labels"]
        return labels

    def container(self, name: str) -> Container:
        """One of those that run or ran."""
        return self._running[name]

    def status(self) -> Object:
        """The pod as the API server describes it to Ray's autoscaler."""
        state = "running" if self.phase is Phase.RUNNING else "waiting" if self.phase is Phase.PENDING else "terminated"
        metadata = dict(self.specification["metadata"])
        if self.terminating:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        statuses = [
            {"name": each["name"], "ready": self.ready, "state": {state: {}}} for each in self._spec["containers"]
        ]
        status = {"phase": self.phase.value, "podIP": self.ip, "containerStatuses": statuses}
        return {**self.specification, "metadata": metadata, "status": status}

    async def _initialize(self) -> None:
        for each in self._spec.get("initContainers", ()):
            container = await self._start(each)
            if each.get("restartPolicy") == "Always":
                continue  # a sidecar
            if status := await container.ended():
                raise probe.ProbeError(f"{each['name']} ended with {status}:\n{container.tail()}")

    async def _start(self, spec: Object) -> Container:
        variables = environment_of(
            spec,
            self.specification,
            image=self._image.environment,
            cluster=self._variables,
            secrets=self._secrets,
            ip=self.ip,
        )
        mounts = self._volumes.mounts(spec)
        config = containers.oci_config(
            spec, self._spec["securityContext"], self._sandbox, self._image, variables, mounts
        )
        container = await Container.start(
            self._sandbox, spec["name"], config, self.folder / "containers" / spec["name"]
        )
        self._running[spec["name"]] = container
        return container

    async def _stop(self, spec: Object) -> None:
        container = self._running.get(spec["name"])
        if container is None or not container.runs:
            return
        match spec.get("lifecycle"):
            case {"preStop": {"exec": {"command": command}}}:
                await container.execute(command)
        container.signal(signal.SIGTERM)
        await container.ended()

    async def _pass_startup(self, spec: Object, container: Container) -> None:
        """Waits until the container's startup probe, if any, passes; ends a container where it does not."""
        if startup := spec.get("startupProbe"):
            try:
                await probe.passed(startup, container, self.ip)
            except probe.ProbeError as error:
                self.failure = f"{error}\n{container.tail()}"
                container.signal(signal.SIGKILL)

    async def _probe(self, spec: Object, container: Container) -> None:
        """Asks the container's other probes, each in its period."""
        async with asyncio.TaskGroup() as group:
            if readiness := spec.get("readinessProbe"):
                group.create_task(self._ask_readiness(readiness, container))
            if liveness := spec.get("livenessProbe"):
                group.create_task(self._ask_liveness(liveness, container))

    async def _ask_readiness(self, readiness: Object, container: Container) -> None:
        failures = 0
        while True:
            self.why_not_ready = await probe.why_not(readiness, container, self.ip)
            failures = failures + 1 if self.why_not_ready else 0
            self.ready = not failures or (self.ready and failures < readiness["failureThreshold"])
            self.was_ready |= self.ready
            await asyncio.sleep(readiness["periodSeconds"])

    async def _ask_liveness(self, liveness: Object, container: Container) -> None:
        failures = 0
        while failures < liveness["failureThreshold"]:
            wrong = await probe.why_not(liveness, container, self.ip)
            failures = failures + 1 if wrong else 0
            await asyncio.sleep(liveness["periodSeconds"])
        if not self.terminating:
            self.failure = f"{container.name} is not alive: {wrong}\n{container.tail()}"
        container.signal(signal.SIGKILL)

    def _namespaces(self) -> Mapping[str, str]:
        """Makes namespaces that last until they are unmounted; the network's is there."""
        paths = {kind: self.folder / kind for kind in ("uts", "ipc")}
        for path in paths.values():
            path.touch()
        run("unshare", f"--uts={paths['uts']}", f"--ipc={paths['ipc']}", "hostname", self.name)
        return {"network": self._network.path} | {kind: str(path) for kind, path in paths.items()}

    def _files(self, hosts: Mapping[str, str]) -> Mapping[str, Path]:
        names = {"localhost": "127.0.0.1", self.name: self.ip} | dict(hosts)
        texts = {"hosts": "".join(f"{ip}\t{name}\n" for name, ip in names.items()), "resolv.conf": ""}
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        (self.folder / "pod.json").write_text(json.dumps(self.specification, indent=1))
        return {f"/etc/{name}": self.folder / name for name in texts}
