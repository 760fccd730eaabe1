"""ExecutableFile: executables and what they depend on, signed.

An executable is native code: anyone who can write such a file can run any code in the process that reads it, whatever
the format. So a file is signed (`signing_key.py`), and nothing of it is looked at before its signature is found
to be right: not even what it says of itself, and least of all its pickles, in which JAX serializes executables.

    32 bytes   signature of all that follows
     8 bytes   length of the description, big-endian
               description: JSON, the number of the compilation and the dependencies
               pickle of the executables: by key, what `jax.experimental.serialize_executable.serialize` returns,
               of which the largest part is compressed by zlib
"""

import json
import os
import pickle
import zlib
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.stages import Compiled
from jax.tree_util import PyTreeDef

from sharding.executables.dependencies import Dependencies, differences
from sharding.executables.signing_key import SIGNATURE_BYTES, is_signed, sign, signing_key_path
from sharding.private_files import UntrustedFileError

_LENGTH_BYTES = 8
_ZLIB_LEVEL = 1


class OtherExecutablesError(Exception):
    """A file's executables were not compiled for what is needed; says what differs."""


@dataclass(frozen=True, slots=True)
class ExecutableFile[K: Hashable]:
    """What a file of executables holds.

    Attributes:
      compilation: the number of the compilation that they are of, which all hosts of a group share; not 0.
      depends_on: what they depend on.
      executables: by key.
    """

    compilation: int
    depends_on: Dependencies
    executables: Mapping[K, Compiled]

    def to_bytes(self) -> list[bytes]:
        """The file, in parts.

        Raises:
          ValueError: the compiler cannot serialize them.
          UntrustedFileError: others could have written the key that it would be signed with.
        """
        description = json.dumps({"compilation": self.compilation, "depends_on": self.depends_on}).encode()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            content = pickle.dumps(dict(zip(self.executables, pool.map(_pack, self.executables.values()), strict=True)))
        parts = [len(description).to_bytes(_LENGTH_BYTES), description, content]
        return [sign(parts), *parts]

    @classmethod
    def from_bytes(
        cls, path: Path, data: bytes, depends_on: Dependencies, devices: Sequence[jax.Device]
    ) -> "ExecutableFile[K]":
        """Loads the executables that `data` holds to `devices`.

        Args:
          path: where it is from, for errors.
          data: the whole file.
          depends_on: what the executables must depend on.
          devices: of their mesh, those of other hosts too.

        Raises:
          UntrustedFileError: it is damaged, or signed with another key.
          OtherExecutablesError: they depend on something else.
          Exception: of XLA, which does not load them.
        """
        compilation, content = verified(path, data, depends_on)
        packed: dict[K, _Packed] = pickle.loads(content)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loaded = pool.map(lambda each: _load(each, devices), packed.values())
            executables = dict(zip(packed, loaded, strict=True))
        return cls(compilation, depends_on, executables)


def verified(path: Path, data: bytes, depends_on: Dependencies) -> tuple[int, memoryview]:
    """The number of a file's compilation, and the pickle of its executables, which are found to be those needed.

    Args and errors are those of `ExecutableFile.from_bytes`, which loads them besides.
    """
    view = memoryview(data)
    signature, signed = view[:SIGNATURE_BYTES], view[SIGNATURE_BYTES:]
    if not is_signed(signature, signed):
        raise UntrustedFileError(
            f"{path} is damaged, or was not signed with the key in {signing_key_path()}. Remove it if it stays so; "
            "if another machine compiled it, put the key of that machine there."
        )
    end = _LENGTH_BYTES + int.from_bytes(signed[:_LENGTH_BYTES])
    description = json.loads(bytes(signed[_LENGTH_BYTES:end]))
    if description["depends_on"] != depends_on:
        raise OtherExecutablesError(
            f"{path} was compiled for something else: {differences(description['depends_on'], depends_on)}."
        )
    return description["compilation"], signed[end:]


type _Packed = tuple[bytes, PyTreeDef, PyTreeDef]


def _pack(executable: Compiled) -> _Packed:
    serialized, arguments, results = serialize(executable)
    return zlib.compress(serialized, _ZLIB_LEVEL), arguments, results


def _load(packed: _Packed, devices: Sequence[jax.Device]) -> Compiled:
    compressed, arguments, results = packed
    executable: Compiled = deserialize_and_load(
        zlib.decompress(compressed), arguments, results, backend=devices[0].client, execution_devices=devices
    )
    return executable
