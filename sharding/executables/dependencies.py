"""What executables depend on: each thing by its name, as text, to be compared between two machines."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import jax
from jax.sharding import Mesh

type Dependencies = dict[str, str]

_CODE = Path(__file__).parent.parent
_PACKAGES = {
    "cpu": ("jax", "jaxlib", "flax", "tokamax"),
    "gpu": ("jax", "jaxlib", "flax", "tokamax"),
    "tpu": ("jax", "jaxlib", "flax", "tokamax", "libtpu"),
}
"""By platform: the packages that compile for it, of which a machine may lack some."""
_PACKAGES_OF_GPUS = ("jax-cuda", "nvidia")
"""How the names of those begin that compile for GPUs."""
_VARIABLES = ("JAX_", "XLA_", "LIBTPU_")
"""How the names of environment variables begin that steer the compiler."""
_NOT_OF_THE_COMPILER = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE", "XLA_PYTHON_CLIENT_")
"""How the names of others begin: where programs run, and what memory they take."""
_LONGEST = 200


def dependencies(mesh: Mesh, made_of: Mapping[str, object]) -> Dependencies:
    """What executables on the devices of `mesh` depend on; two machines on which it is equal can exchange them.

    Args:
      mesh: of devices of this machine, or of a description (`jax.experimental.topologies`).
      made_of: what the caller knows; compared by `repr`.
    """
    devices = list(mesh.devices.flat)
    platform = devices[0].platform
    found = {name: repr(value) for name, value in made_of.items()}
    found["mesh"] = repr(dict(mesh.shape))
    found["devices"] = ", ".join(map(_device, devices))
    found["code"] = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_CODE.rglob("*.py")))).hexdigest()
    # What stands before the last line says how the compiler was loaded.
    found["compiler"] = devices[0].client.platform_version.splitlines()[-1]
    found |= _versions(platform)
    for variable, value in os.environ.items():
        if variable.startswith(_VARIABLES) and not variable.startswith(_NOT_OF_THE_COMPILER):
            found[variable] = value
    return found | _processor() if platform == "cpu" else found


def differences(compiled_with: Dependencies, here: Dependencies) -> str:
    """What is not the same, for a log: `jax 0.12.0 instead of 0.12.1, ...`."""
    names = [name for name in (compiled_with | here) if compiled_with.get(name) != here.get(name)]
    return "; ".join(
        f"{name}: {_short(compiled_with.get(name))} there, {_short(here.get(name))} here" for name in names
    )


def _versions(platform: str) -> Dependencies:
    found = {}
    for name in _PACKAGES[platform]:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    if platform == "gpu":  # to read what each package is named takes 0.2 s
        for each in distributions():
            name = each.name.lower().replace("_", "-")
            if name.startswith(_PACKAGES_OF_GPUS):
                found[name] = each.version
    return found


def _device(device: jax.Device) -> str:
    place = getattr(device, "coords", None)
    return f"{device.device_kind} {device.id} of process {device.process_index}{f' at {place}' if place else ''}"


def _processor() -> Dependencies:
    """For how many processors XLA divides work, and the instructions that they know, where the system says so."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    instructions = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    return {"processors": str(processors), "instructions": " ".join(instructions)}


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return (
        value if len(value) <= _LONGEST else f"{value[:_LONGEST]}... ({hashlib.sha256(value.encode()).hexdigest()[:8]})"
    )
