"""A container of a pod, run by runc: namespaces, user, mounts and limits as its pod's specification wants them."""

import asyncio
import json
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubernetes.utils.quantity import parse_quantity

from tests.helm.chart import Object
from tests.pods.node import seccomp
from tests.pods.node.command import CommandError, run, status_of
from tests.pods.node.environment import expanded
from tests.pods.node.folder import RUNC
from tests.pods.node.image import Image

_RUNC = ("runc", "--root", RUNC)
_CPU_PERIOD_US = 100_000
_OPEN_FILES = min(1_048_576, resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # containerd's, where it may be had
_MASKED = ["acpi", "asound", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"]
_READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"]
_SYSTEM_MOUNTS: list[Object] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64m"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64m"],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
]


@dataclass(frozen=True)
class Sandbox:
    """What the containers of a pod share.

    Attributes:
      name: the pod's.
      namespaces: paths of its network, ipc and uts namespaces.
      files: of this machine by path in each container: hosts, resolv.conf.
    """

    name: str
    namespaces: Mapping[str, str]
    files: Mapping[str, Path]


def oci_config(
    container: Object,
    security: Object,
    sandbox: Sandbox,
    image: Image,
    variables: Mapping[str, str],
    mounts: Sequence[Object],
) -> Object:
    """A container in the words of the OCI runtime specification.

    Args:
      container: of the pod.
      security: the pod's security context.
      sandbox: what it shares with the pod's other containers.
      image: that it runs.
      variables: its environment.
      mounts: of its volumes.
    """
    own = container["securityContext"]
    dropped = own["capabilities"]["drop"] == ["ALL"] and "add" not in own["capabilities"]
    if not dropped or not security["runAsNonRoot"]:
        raise NotImplementedError(f"Container {container['name']} with capabilities, or as root")
    arguments = [expanded(word, variables) for word in (*container["command"], *container.get("args", ()))]
    files = [
        {"destination": path, "type": "bind", "source": str(file), "options": ["rbind", "rprivate", "ro"]}
        for path, file in sandbox.files.items()
    ]
    covered = {mount["destination"] for mount in mounts}
    system = [mount for mount in _SYSTEM_MOUNTS if mount["destination"] not in covered]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {
                "uid": security["runAsUser"],
                "gid": security["runAsGroup"],
                "additionalGids": [security["fsGroup"]],
            },
            "args": arguments,
            "env": [f"{name}={value}" for name, value in variables.items()],
            "cwd": image.directory,
            "capabilities": {name: [] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": _OPEN_FILES, "soft": _OPEN_FILES}],
            "noNewPrivileges": not own["allowPrivilegeEscalation"],
        },
        "root": {"path": str(image.root), "readonly": own["readOnlyRootFilesystem"]},
        "mounts": [*system, *files, *mounts],
        "linux": {
            "cgroupsPath": f"/codegemma-pods.{sandbox.name}.{container['name']}",
            "namespaces": [
                {"type": "pid"},
                {"type": "mount"},
                *({"type": kind, "path": path} for kind, path in sandbox.namespaces.items()),
            ],
            "resources": {"devices": [{"allow": False, "access": "rwm"}], **_limits(container)},
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READ_ONLY],
            "seccomp": seccomp.runtime_default(),
        },
    }


def _limits(container: Object) -> Object:
    limits = container["resources"]["limits"]
    return {
        "memory": {"limit": int(parse_quantity(limits["memory"]))},
        "cpu": {"quota": int(parse_quantity(limits["cpu"]) * _CPU_PERIOD_US), "period": _CPU_PERIOD_US},
    }


class Container:
    """A container that runs.

    Attributes:
      name: of the container in its pod.
      output: what it wrote to standard output and standard error.
    """

    def __init__(self, name: str, identifier: str, output: Path, process: asyncio.subprocess.Process) -> None:
        """For `start`."""
        self.name = name
        self.output = output
        self._id = identifier
        self._process = process

    @classmethod
    async def start(cls, sandbox: Sandbox, name: str, config: Object, folder: Path) -> "Container":
        """Starts one, with its files in `folder`."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        output = folder / "output.log"
        identifier = f"{sandbox.name}.{name}"
        with output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *_RUNC,
                "run",
                "--bundle",
                folder,
                identifier,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # a Ctrl-C is for the run, which then ends the pods
            )
        return cls(name, identifier, output, process)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Waits until its first process has ended; returns the exit status."""
        return await self._process.wait()

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Runs a command in it; returns the exit status and the output."""
        return await status_of(*_RUNC, "exec", self._id, *command)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to its first process."""
        if self.runs:
            try:
                run(*_RUNC, "kill", self._id, number.name.removeprefix("SIG"))
            except CommandError as error:
                if not any(ended in str(error) for ended in ("not running", "does not exist")):
                    raise

    def tail(self, lines: int = 30) -> str:
        """The last lines that it wrote."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])


def remove_all() -> None:
    """Ends all containers and removes them, also those that an earlier run left."""
    for identifier in run(*_RUNC, "list", "--quiet").split():
        run(*_RUNC, "delete", "--force", identifier)
