"""ExecutableStore: compiled steps on this host's disk, so that the next start neither traces nor compiles them.

JAX's own compilation cache saves the compiler's work alone, and in a group of several hosts the first host alone writes
to it: without a shared disk, all others compile everything anew at each start.
"""

import hashlib
import logging
import os
import pickle
import random
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from tempfile import NamedTemporaryFile

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.sharding import Mesh
from jax.stages import Compiled
from jax.tree_util import PyTreeDef

from sharding.mesh import of_first_host, same_on_all_hosts

_log = logging.getLogger(__name__)

_PACKAGES = ("jax", "flax", "tokamax", "libtpu", "nvidia")
"""How the names of packages begin that steps are made with."""
_VARIABLES = ("JAX_", "XLA_", "LIBTPU_")
"""How the names of environment variables begin that steer them."""
_UNUSED_S = 30 * 24 * 3600.0
"""What was not read for so long is removed: every change of code or packages leaves files that nothing reads again."""
_DIGEST_BYTES = 32
_NO_COMPILATION = 0

type _Kept[K] = tuple[int, dict[K, Compiled]]
"""Which compilation they are of, a number that its hosts share, and the executables."""


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
        self._path = directory / f"{digest[:32]}.executables"

    def get(self, compile: Callable[[], dict[K, Compiled]]) -> dict[K, Compiled]:
        """Returns what was kept; or what `compile` returns, which is then kept.

        All hosts compile unless all can read what they compiled together: they may need each other to compile, and
        two compilations need not fit each other.
        """
        kept = self._read()
        if same_on_all_hosts(kept[0]) and kept[0] != _NO_COMPILATION:
            return kept[1]
        del kept  # it may be in the devices' memory
        executables = compile()
        self._write((of_first_host(random.randrange(1, 1 << 32)), executables))
        return executables

    def _read(self) -> _Kept[K]:
        try:
            data = self._path.read_bytes()
            digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:  # XLA would run it all the same, and end this process
                raise ValueError("the file is damaged")
            compilation, serialized = pickle.loads(content)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                executables = dict(zip(serialized, pool.map(self._load, serialized.values()), strict=True))
            os.utime(self._path)
            return compilation, executables
        except FileNotFoundError:
            pass
        except Exception:  # of pickle and XLA: anything
            _log.warning("%s cannot be read; compiling anew", self._path, exc_info=True)
        return _NO_COMPILATION, {}

    def _load(self, serialized: tuple[bytes, PyTreeDef, PyTreeDef]) -> Compiled:
        executable: Compiled = deserialize_and_load(*serialized, execution_devices=self._devices)
        return executable

    def _write(self, kept: _Kept[K]) -> None:
        try:
            _remove_unused(self._path.parent)
            compilation, executables = kept
            serialized = {key: serialize(executable) for key, executable in executables.items()}
            content = pickle.dumps((compilation, serialized))
            with NamedTemporaryFile(dir=self._path.parent, delete_on_close=False) as file:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, self._path)  # at once: another process may read it now
        except Exception:  # of the disk, or of a compiler that cannot serialize
            _log.warning("%s cannot be written; the next start will compile anew", self._path, exc_info=True)


def _remove_unused(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_file() and time.time() - path.stat().st_mtime > _UNUSED_S:
            path.unlink(missing_ok=True)


def _surroundings() -> list[object]:
    """Code, packages, compiler, environment and processor."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))))
    packages = sorted((each.name, each.version) for each in distributions() if each.name.startswith(_PACKAGES))
    environment = sorted(item for item in os.environ.items() if item[0].startswith(_VARIABLES))
    platform = jax.devices()[0].client.platform_version
    return [code.hexdigest(), packages, platform, environment, *_processor()]


def _processor() -> tuple[int, list[str]]:
    """For how many processors XLA divides work, and the instructions that they know, where the system says so."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    return processors, sorted({line for line in lines if line.startswith(("flags", "Features"))})
