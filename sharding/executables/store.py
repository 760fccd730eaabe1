"""Where executables come from and go to: a host's disk and a file of another machine, or a file for other machines.

JAX's own compilation cache saves the compiler's work alone, and in a group of several hosts the first host alone writes
to it: without a shared disk, all others compile everything anew at each start.
"""

import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jax
from jax.sharding import Mesh
from jax.stages import Compiled

from sharding.executables.dependencies import Dependencies, dependencies
from sharding.executables.file import ExecutableFile, OtherExecutablesError, verified
from sharding.mesh import of_first_host, same_on_all_hosts
from sharding.private_files import UntrustedFileError, private_directory, read_private, write_private

_log = logging.getLogger(__name__)

type Executables[K: Hashable] = dict[K, Compiled]

_UNUSED_S = 30 * 24 * 3600.0
"""What was not read for so long is removed: every change of code or packages leaves files that nothing reads again."""
_NO_COMPILATION = 0


class ExecutableStore(Protocol):
    """Where executables come from."""

    def get[K: Hashable](
        self, mesh: Mesh, made_of: Mapping[str, object], compile: Callable[[], Executables[K]]
    ) -> Executables[K]:
        """Returns the executables on the devices of `mesh` that depend on `made_of`: read, or by calling `compile`.

        Args:
          mesh: its devices; those of other hosts too.
          made_of: everything that they depend on by its name, except for code and environment; compared by `repr`.
          compile: makes them.
        """


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Executables on this host's disk, so that the next start neither traces nor compiles.

    Files in `directory` and the directory itself are this user's alone, and signed with a key that is kept elsewhere.
    What others could have written is not read.

    Attributes:
      directory: for those of all models.
      shipped: a file of executables that an `ExecutableWriter` made on another machine; read first.
    """

    directory: Path
    shipped: Path | None = None

    def get[K: Hashable](
        self, mesh: Mesh, made_of: Mapping[str, object], compile: Callable[[], Executables[K]]
    ) -> Executables[K]:
        """Returns what was shipped or kept; or what `compile` returns, which is then kept.

        All hosts compile unless all can read what was compiled together: they may need each other to compile, and
        two compilations need not fit each other.
        """
        depends_on = dependencies(mesh, made_of)
        kept = self._path(depends_on)
        file: ExecutableFile[K] | None = None
        if self.shipped is not None:
            file = _read(self.shipped, self.shipped.read_bytes, depends_on, mesh)
        if file is None:
            file = _read(kept, lambda: _read_kept(kept), depends_on, mesh, may_be_missing=True)
        compilation = _NO_COMPILATION if file is None else file.compilation
        if same_on_all_hosts(compilation) and file is not None:
            return dict(file.executables)
        del file  # it may be in the devices' memory
        executables = compile()
        _keep(kept, ExecutableFile(of_first_host(random.randrange(1, 1 << 32)), depends_on, executables))
        return executables

    def _path(self, depends_on: Dependencies) -> Path:
        digest = hashlib.sha256(repr(sorted(depends_on.items())).encode()).hexdigest()[:32]
        # Each host of a group has its own part of the executables, also where they share a disk.
        return self.directory / f"{digest}-{jax.process_index()}.executables"


@dataclass(frozen=True, slots=True)
class ExecutableWriter:
    """Compiles for other machines: writes a file that their `LocalStore`s read.

    Attributes:
      path: of the file, in a directory that is there.
    """

    path: Path

    def get[K: Hashable](
        self, mesh: Mesh, made_of: Mapping[str, object], compile: Callable[[], Executables[K]]
    ) -> Executables[K]:
        """Returns what `compile` returns, once it is written.

        Raises:
          OSError: the file cannot be written.
          UntrustedFileError: others could have written the key that it would be signed with.
        """
        executables = compile()
        file = ExecutableFile(random.randrange(1, 1 << 32), dependencies(mesh, made_of), executables)
        write_private(self.path, *file.to_bytes())
        self.path.chmod(0o644)  # for whichever user reads it: it is the signature that tells who wrote it
        return executables


def why_not_taken(path: Path, mesh: Mesh, made_of: Mapping[str, object]) -> str | None:
    """Why a file's executables are not those on the devices of `mesh` that depend on `made_of`; None if they are.

    Raises:
      OSError: it cannot be read.
    """
    try:
        verified(path, path.read_bytes(), dependencies(mesh, made_of))
    except (UntrustedFileError, OtherExecutablesError) as error:
        return str(error)
    return None


def _read[K: Hashable](
    path: Path, read: Callable[[], bytes], depends_on: Dependencies, mesh: Mesh, *, may_be_missing: bool = False
) -> ExecutableFile[K] | None:
    """None where it is not to be read; the log says why."""
    try:
        file: ExecutableFile[K] = ExecutableFile.from_bytes(path, read(), depends_on, list(mesh.devices.flat))
        _log.info("read %d executables from %s", len(file.executables), path)
        return file
    except FileNotFoundError as error:
        if not may_be_missing:
            _log.warning("no executables are read: %s", error)
    except (UntrustedFileError, OtherExecutablesError) as error:
        _log.warning("no executables are read: %s", error)
    except Exception:  # of the disk, pickle and XLA: anything
        _log.warning("%s cannot be read", path, exc_info=True)
    return None


def _read_kept(path: Path) -> bytes:
    private_directory(path.parent)
    data = read_private(path)
    os.utime(path)
    return data


def _keep[K: Hashable](path: Path, file: ExecutableFile[K]) -> None:
    try:
        private_directory(path.parent)
        _remove_unused(path.parent)
        write_private(path, *file.to_bytes())  # at once: another process may read it now
    except UntrustedFileError as error:
        _log.warning("the next start will compile anew: %s", error)
    except Exception:  # of the disk, or of a compiler that cannot serialize
        _log.warning("%s cannot be written; the next start will compile anew", path, exc_info=True)


def _remove_unused(directory: Path) -> None:
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # on a disk that hosts share, another one writes and removes meanwhile
            if path.is_file() and time.time() - path.stat().st_mtime > _UNUSED_S:
                path.unlink()
