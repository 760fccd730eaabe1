"""The system calls that a pod may make with `seccompProfile: RuntimeDefault`."""

import json
from pathlib import Path

from tests.helm.chart import Object
from tests.pods.node.command import MissingError

_PROFILE = Path("/usr/share/containers/seccomp.json")
"""The profile of Podman, buildah and CRI-O, which comes with any of them."""
_ARCHITECTURE = "amd64"


def runtime_default() -> Object:
    """That profile in the words of the OCI runtime specification.

    Raises:
      MissingError: it is not on this machine.
    """
    if not _PROFILE.exists():
        raise MissingError(f"There is no {_PROFILE}. On Debian: apt-get install golang-github-containers-common")
    return without_capabilities(json.loads(_PROFILE.read_text()))


def without_capabilities(profile: Object) -> Object:
    """The rules of a profile in Docker's form that hold for a process without any capability, on this architecture."""
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        architectures = includes.get("arches") or [_ARCHITECTURE]
        if includes.get("caps") or _ARCHITECTURE not in architectures or _ARCHITECTURE in excludes.get("arches", ()):
            continue
        rules.append({name: rule[name] for name in ("names", "action", "args", "errnoRet") if rule.get(name)})
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }
