"""ExecutableStore: compiled steps on this host's disk, so that the next start neither traces nor compiles them.

JAX's own compilation cache saves the compiler's work alone, and in a group of several hosts the first host alone writes
to it: without a shared disk, all others compile everything anew at each start.
"""

import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.sharding import Mesh
from jax.stages import Compiled
from jax.tree_util import PyTreeDef

from sharding.mesh import on_all_hosts

_log = logging.getLogger(__name__)

_PACKAGES = ("jax", "jaxlib", "flax", "tokamax")
"""What steps are made with; the compilers of GPUs and TPUs are in the version of JAX's platform."""
_VARIABLES = ("JAX_", "XLA_", "LIBTPU_")
"""How the names of environment variables begin that steer them."""


class ExecutableStore[K: Hashable]:
    """The executables of one model, on one mesh, as this version of the code compiles them; `K` tells them apart.

    Whoever can write to the directory can run code in this process: reading an executable is unpickling.
    """

    def __init__(self, directory: Path, mesh: Mesh, *made_of: object) -> None:
        """Finds the place in `directory` for executables on `mesh` that depend on `made_of`.

        Args:
          directory: for all models.
          mesh: its devices; those of other hosts too.
          made_of: everything else that they depend on, except for code and environment; compared by `repr`.
        """
        self._devices = list(mesh.devices.flat)
        devices = [(str(device), device.device_kind) for device in self._devices]
        dependencies = [*made_of, devices, mesh.shape, jax.process_index(), *_surroundings()]
        digest = hashlib.sha256("\n".join(map(repr, dependencies)).encode()).hexdigest()
        self._path = directory / f"{digest[:32]}.pickle"

    def get(self, compile: Callable[[], dict[K, Compiled]]) -> dict[K, Compiled]:
        """Returns what was kept; or what `compile` returns, which is then kept.

        Hosts may need each other to compile: all of them do unless all can read theirs.
        """
        executables = self._read()
        if on_all_hosts(executables is not None):
            assert executables is not None
            return executables
        executables = compile()
        self._write(executables)
        return executables

    def _read(self) -> dict[K, Compiled] | None:
        try:
            serialized = pickle.loads(self._path.read_bytes())
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return dict(zip(serialized, pool.map(self._load, serialized.values()), strict=True))
        except FileNotFoundError:
            return None
        except Exception:  # of a damaged file: pickle and XLA raise anything
            _log.warning("%s cannot be read; compiling anew", self._path, exc_info=True)
            return None

    def _load(self, serialized: tuple[bytes, PyTreeDef, PyTreeDef]) -> Compiled:
        executable: Compiled = deserialize_and_load(*serialized, execution_devices=self._devices)
        return executable

    def _write(self, executables: Mapping[K, Compiled]) -> None:
        try:
            serialized = {key: serialize(executable) for key, executable in executables.items()}
            with NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
                pickle.dump(serialized, file)
            os.replace(file.name, self._path)  # at once: another process may read it now
        except Exception:  # of the disk, or of a compiler that cannot serialize
            _log.warning("%s cannot be written; the next start will compile anew", self._path, exc_info=True)


def _surroundings() -> list[object]:
    """Code, packages, compiler, environment and processor."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))))
    environment = sorted(item for item in os.environ.items() if item[0].startswith(_VARIABLES))
    platform = jax.devices()[0].client.platform_version
    return [code.hexdigest(), [_version(package) for package in _PACKAGES], platform, environment, _processor()]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> list[str]:
    """The instructions that the processor knows, where the system says so: code for a CPU is made of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return []
    return sorted({line for line in lines if line.startswith(("flags", "Features"))})
