"""ExecutableStore: compiled steps on this host's disk, so that the next start neither traces nor compiles them.

JAX's own compilation cache saves the compiler's work alone, and in a group of several hosts the first host alone writes
to it: without a shared disk, all others compile everything anew at each start.
"""

import hashlib
import hmac
import logging
import os
import pickle
import random
import secrets
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.sharding import Mesh
from jax.stages import Compiled
from jax.tree_util import PyTreeDef

from sharding.mesh import of_first_host, same_on_all_hosts
from sharding.private_files import UntrustedFileError, private_directory, read_private, write_private

_log = logging.getLogger(__name__)

_PACKAGES = ("jax", "flax", "tokamax", "libtpu", "nvidia")
"""How the names of packages begin that steps are made with."""
_VARIABLES = ("JAX_", "XLA_", "LIBTPU_")
"""How the names of environment variables begin that steer them."""
_UNUSED_S = 30 * 24 * 3600.0
"""What was not read for so long is removed: every change of code or packages leaves files that nothing reads again."""
_KEY_BYTES = _SIGNATURE_BYTES = 32
_NO_COMPILATION = 0

type _Kept[K] = tuple[int, dict[K, Compiled]]
"""Which compilation they are of, a number that its hosts share, and the executables."""


class ExecutableStore[K: Hashable]:
    """The executables of one model, on one mesh, as this version of the code compiles them; `K` tells them apart.

    An executable is native code: whoever could put one there could run anything in this process. So files and their
    directory are this user's alone, and what they hold is signed with a key of this user's that is kept elsewhere
    (`signing_key_path`). What others could have written is not read, whatever format it has.
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
            private_directory(self._path.parent)
            data = memoryview(read_private(self._path))
            signature, content = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
            if not hmac.compare_digest(signature, self._sign(content)):
                raise UntrustedFileError(
                    f"{self._path} is damaged, or was not signed with the key in {signing_key_path()}. Remove it if it "
                    "stays so."
                )
            compilation, serialized = pickle.loads(content)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                executables = dict(zip(serialized, pool.map(self._load, serialized.values()), strict=True))
            os.utime(self._path)
            return compilation, executables
        except FileNotFoundError:
            pass
        except UntrustedFileError as error:
            _log.warning("compiling anew: %s", error)
        except Exception:  # of pickle and XLA: anything
            _log.warning("%s cannot be read; compiling anew", self._path, exc_info=True)
        return _NO_COMPILATION, {}

    def _load(self, serialized: tuple[bytes, PyTreeDef, PyTreeDef]) -> Compiled:
        executable: Compiled = deserialize_and_load(*serialized, execution_devices=self._devices)
        return executable

    def _write(self, kept: _Kept[K]) -> None:
        try:
            private_directory(self._path.parent)
            _remove_unused(self._path.parent)
            compilation, executables = kept
            serialized = {key: serialize(executable) for key, executable in executables.items()}
            content = pickle.dumps((compilation, serialized))
            write_private(self._path, self._sign(content), content)  # at once: another process may read it now
        except UntrustedFileError as error:
            _log.warning("the next start will compile anew: %s", error)
        except Exception:  # of the disk, or of a compiler that cannot serialize
            _log.warning("%s cannot be written; the next start will compile anew", self._path, exc_info=True)

    def _sign(self, content: bytes | memoryview) -> bytes:
        """With the name, so that no other file that was signed passes for this one."""
        signature = hmac.new(_signing_key(), self._path.name.encode(), hashlib.sha256)
        signature.update(content)
        return signature.digest()


def signing_key_path() -> Path:
    """Where this user's key is by which executables are signed; `XDG_DATA_HOME` moves it."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "codegemma" / "executables.key"


def _signing_key() -> bytes:
    path = signing_key_path()
    private_directory(path.parent)
    if not path.exists():
        write_private(path, secrets.token_bytes(_KEY_BYTES), replace=False)  # the first of several processes makes it
    key = read_private(path)
    if len(key) != _KEY_BYTES:
        raise UntrustedFileError(f"{path} has {len(key)} bytes, and a key has {_KEY_BYTES}. Remove it.")
    return key


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
