"""What reading a distributed checkpoint of NeMo costs, whatever its files say."""

import gc
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharding.checkpoint import CheckpointError, open_checkpoint
from sharding.checkpoint.nemo import torch_dist
from sharding.checkpoint.nemo.members import Extent, Members, open_members
from sharding.checkpoint.nemo.names import wanted
from sharding.checkpoint.nemo.zarr import read_zarr
from tests.oracle.random_checkpoint import random_tensors
from tests.sharding.checkpoint import nemo_files
from tests.sharding.checkpoint.files import WIDE


class CountedExtents(dict[str, Extent]):
    """Counts how often all of it is gone through."""

    scans = 0

    def items(self) -> Any:
        """See `dict`."""
        self.scans += 1
        return super().items()


def zarray(shape: list[int], compressor: object = None, separator: str = ".") -> bytes:
    description = {
        **{"zarr_format": 2, "order": "C", "filters": None, "fill_value": None, "dtype": "<f4"},
        **{"shape": shape, "chunks": shape, "compressor": compressor, "dimension_separator": separator},
    }
    return json.dumps(description).encode()


def test_members_are_gone_through_once_for_any_number_of_arrays(tmp_path: Path) -> None:
    description = zarray([1])
    (tmp_path / "z").write_bytes(description + bytes(4))
    extents = CountedExtents()
    for number in range(50):
        extents[f"decoder.x{number}/.zarray"] = Extent(tmp_path / "z", 0, len(description))
        extents[f"decoder.x{number}/0"] = Extent(tmp_path / "z", len(description), 4)
    assert len(read_zarr(Members(tmp_path, extents), wanted)) == 50
    assert extents.scans <= 1


def test_chunks_may_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "decoder.x"
    (folder / "0" / "0").mkdir(parents=True)
    (folder / ".zarray").write_bytes(zarray([2, 3, 4], separator="/"))
    values = np.arange(24, dtype=np.float32)
    (folder / "0" / "0" / "0").write_bytes(values.tobytes())
    [matrix] = read_zarr(open_members(tmp_path), wanted).values()
    np.testing.assert_array_equal(matrix.read(slice(0, 6), slice(0, 4), np.float32), values.reshape(6, 4))


def test_a_decoded_chunk_is_kept_no_longer_than_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "decoder.x").mkdir()
    (tmp_path / "decoder.x" / ".zarray").write_bytes(zarray([2**11, 2**11], {"id": "zlib", "level": 1}))
    (tmp_path / "decoder.x" / "0.0").write_bytes(zlib.compress(bytes(2**24), 1))
    tracemalloc.start()
    try:
        tensors = read_zarr(open_members(tmp_path), wanted)
        tensors["decoder.x"].read(slice(0, 1), slice(0, 1), np.float32)
        assert tracemalloc.get_traced_memory()[0] > 2**24  # kept meanwhile
        del tensors
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 2**22
    finally:
        tracemalloc.stop()


def test_parts_that_share_bytes_are_refused_before_any_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part may say that it has all of a file, which would be read as often as there are parts."""

    def read(*_: object) -> None:
        pytest.fail("read")

    place = nemo_files._place
    monkeypatch.setattr(nemo_files, "_place", lambda *_: place("__0_0.distcp", 0, 100))
    nemo_files.write_nemo2_stacked(tmp_path / "model", WIDE, dict(random_tensors(WIDE, 3)))
    monkeypatch.setattr(torch_dist, "read_torch_file", read)
    with pytest.raises(CheckpointError, match=r"__0_0\.distcp: tensors \S+ and \S+ share bytes 0 to 99"):
        open_checkpoint(tmp_path / "model")
