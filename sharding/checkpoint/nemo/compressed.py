"""Compressed chunks of zarr: decoded whole, the last one kept, as rows of it are asked for one after the other."""

import json
import struct
import threading
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.matrix import Matrix
from sharding.checkpoint.nemo.members import Extent

_CODECS = ("blosc", "gzip", "zlib")
_MOST_BYTES = 2**31
"""Of a decoded chunk: blosc's own limit."""
_BLOSC_HEADER = struct.Struct("<4xI")
"""The bytes that a blosc chunk unfolds to."""


class ChunkDecoder:
    """Decodes the chunks of a checkpoint one at a time, and keeps the last one, as long as its tensors are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # or each of the threads that read would decode the same chunk at once
        self._last: tuple[Extent, npt.NDArray[np.uint8]] | None = None

    def decode(self, extent: Extent, nbytes: int, compressor: str) -> npt.NDArray[np.uint8]:
        """The bytes that a chunk unfolds to.

        Raises:
          ValueError, zlib.error: it is damaged.
        """
        with self._lock:
            if self._last is None or self._last[0] != extent:
                self._last = None  # before the next one takes its memory
                self._last = extent, _decoded(extent, nbytes, compressor)
            return self._last[1]


@dataclass(frozen=True, kw_only=True)
class _CompressedChunk(Matrix):
    """A chunk whose bytes are compressed together."""

    extent: Extent
    dtype: np.dtype[Any]
    compressor: str
    decoder: ChunkDecoder

    def numbers(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """See `Matrix`."""
        nbytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        try:
            data = self.decoder.decode(self.extent, nbytes, self.compressor)
        except (ValueError, zlib.error) as error:
            raise CheckpointError(f"{self.file}: tensor {self.name} has a damaged chunk: {error}.") from error
        return data.view(self.dtype).reshape(self.shape)[rows, columns]


def compressed_chunk(
    key: str,
    extent: Extent,
    shape: tuple[int, int],
    type_name: str,
    dtype: np.dtype[Any],
    compressor: dict[str, Any],
    decoder: ChunkDecoder,
) -> Matrix:
    """A chunk of a tensor, compressed as zarr's `compressor` says.

    Raises:
      ValueError: it cannot be decoded here.
    """
    if (codec := compressor["id"]) not in _CODECS:
        raise ValueError(f"the compressor {str(codec)[:40]!r} is none of {', '.join(_CODECS)}")
    if (nbytes := shape[0] * shape[1] * dtype.itemsize) > _MOST_BYTES:
        raise ValueError(f"its chunks have {nbytes} bytes; {_MOST_BYTES} are the most that is decoded at once")
    return _CompressedChunk(
        name=key,
        file=extent.file,
        shape=shape,
        type=type_name,
        extent=extent,
        dtype=dtype,
        compressor=json.dumps(compressor, sort_keys=True),
        decoder=decoder,
    )


def _decoded(extent: Extent, nbytes: int, compressor: str) -> npt.NDArray[np.uint8]:
    if extent.size > nbytes + nbytes // 8 + 2**16:
        raise ValueError(f"{extent.size} bytes for a chunk of {nbytes}")
    with extent.file.open("rb") as opened:
        opened.seek(extent.offset)
        packed = opened.read(extent.size)
    if json.loads(compressor)["id"] == "blosc":
        data = _from_blosc(packed, nbytes, compressor)
    else:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib's or gzip's header
        data = unpacker.decompress(packed, nbytes)
        if not unpacker.eof and unpacker.decompress(unpacker.unconsumed_tail, 1):
            raise ValueError(f"it unfolds to more than {nbytes} bytes")
        if not unpacker.eof:
            raise ValueError("it ends before its checksum")
    if len(data) != nbytes:
        raise ValueError(f"it unfolds to {len(data)} bytes, not {nbytes}")
    return np.frombuffer(data, np.uint8)


def _from_blosc(packed: bytes, nbytes: int, compressor: str) -> bytes:
    import tensorstore  # takes a moment, and few checkpoints need it

    if len(packed) < 16 or (said := _BLOSC_HEADER.unpack_from(packed)[0]) != nbytes:
        raise ValueError(f"it unfolds to {said if len(packed) >= 16 else 0} bytes, not {nbytes}")
    context = tensorstore.Context()
    store = tensorstore.KvStore.open({"driver": "memory"}, context=context).result()
    description = {
        "zarr_format": 2,
        "shape": [nbytes],
        "chunks": [nbytes],
        "dtype": "|u1",
        "compressor": json.loads(compressor),
        "fill_value": None,
        "filters": None,
        "order": "C",
    }
    store.write(".zarray", json.dumps(description)).result()
    store.write("0", packed).result()
    spec = {"driver": "zarr", "kvstore": {"driver": "memory"}}
    array = tensorstore.open(spec, context=context, open=True).result()
    return bytes(memoryview(array.read().result()))
