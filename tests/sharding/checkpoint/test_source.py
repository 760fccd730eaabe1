"""Slices read from files are slices of the whole."""

from math import prod
from pathlib import Path

import gguf
import jax
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.checkpoint import matrix as matrix_module
from sharding.checkpoint.byte_range import ByteRange, Encoding, check_apart
from sharding.checkpoint.errors import CheckpointError
from sharding.checkpoint.source import TensorSource

F32 = Encoding("F32", 1, 4, lambda raw: raw.view(np.float32))
Q4_0 = Encoding("Q4_0", 32, 18, lambda raw: gguf.quants.dequantize(raw, gguf.GGMLQuantizationType.Q4_0))
LAYOUTS = [
    ((6, 4, 64), 2),  # queries
    ((10, 3, 32), 1),  # attention output
    ((9, 96), 1),
    ((64,), 0),
]
OFFSET = 12


def write(file: Path, shape: tuple[int, ...], row_axes: int, encoding: Encoding) -> tuple[TensorSource, np.ndarray]:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rows = values.reshape(prod(shape[:row_axes]), -1)
    if encoding is Q4_0:
        encoded = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q4_0)
        values = encoding.decode(encoded).reshape(shape)
    else:
        encoded = rows
    file.write_bytes(bytes(OFFSET) + encoded.tobytes())
    stored_shape = rows.shape if row_axes else shape
    matrix = ByteRange.of("w", file, stored_shape, OFFSET, encoding)
    return TensorSource(matrix=matrix, shape=shape, row_axes=row_axes), values


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[slice, ...]:
    bounds = [sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape]
    whole = draw(st.tuples(*[st.booleans() for _ in shape]))
    index = [slice(None) if all_ else slice(*bound) for bound, all_ in zip(bounds, whole, strict=True)]
    return tuple(index[: draw(st.integers(0, len(shape)))])


@pytest.mark.parametrize("encoding", [F32, Q4_0], ids=lambda encoding: encoding.name)
@pytest.mark.parametrize(("shape", "row_axes"), LAYOUTS, ids=str)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_slice_equals_that_slice_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, ...],
    row_axes: int,
    encoding: Encoding,
    data: st.DataObject,
) -> None:
    tensor, values = write(tmp_path_factory.mktemp("source") / "file", shape, row_axes, encoding)
    index = data.draw(indices(shape))
    with pytest.MonkeyPatch.context() as patch:
        # From one row at a time to all at once.
        patch.setattr(matrix_module, "BLOCK_BYTES", data.draw(st.sampled_from([1, 1000, 2**20])))
        read = tensor.read(index)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values[index], strict=True)


def test_values_are_cast_to_the_type_asked_for(tmp_path: Path) -> None:
    tensor, values = write(tmp_path / "file", (9, 96), 1, F32)
    read = tensor.read((slice(2, 5),), ml_dtypes.bfloat16)
    np.testing.assert_array_equal(read, values[2:5].astype(ml_dtypes.bfloat16), strict=True)


def test_a_tensor_past_the_end_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(100))
    with pytest.raises(CheckpointError, match=r"short: truncated: tensor w ends at byte 108, the file at byte 100"):
        ByteRange.of("w", tmp_path / "short", (6, 4), 12, F32)


def test_rows_that_are_no_whole_number_of_blocks_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    with pytest.raises(CheckpointError, match=r"tensor w of shape \(2, 40\) .* no multiple of 32"):
        ByteRange.of("w", tmp_path / "file", (2, 40), 0, Q4_0)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_number_that_is_not_finite_is_refused_by_tensor(tmp_path: Path, value: float, dtype: npt.DTypeLike) -> None:
    tensor, values = write(tmp_path / "file", (9, 96), 1, F32)
    values[5, 17] = value
    (tmp_path / "file").write_bytes(bytes(OFFSET) + values.tobytes())
    with pytest.raises(CheckpointError, match=r"file: tensor w has numbers that are not finite in rows 0 to 8\. Fetch"):
        tensor.read((), dtype)
    assert np.isfinite(tensor.read((slice(0, 5),), dtype).astype(np.float32)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_the_largest_and_smallest_numbers_are_finite(tmp_path: Path, dtype: npt.DTypeLike) -> None:
    tensor, values = write(tmp_path / "file", (9, 96), 1, F32)
    largest = 65504.0 if dtype is np.float16 else 3.3e38
    values[0, :4] = [largest, -largest, 6e-8, -0.0]
    (tmp_path / "file").write_bytes(bytes(OFFSET) + values.tobytes())
    np.testing.assert_array_equal(tensor.read((), dtype), values.astype(dtype), strict=True)


def test_tensors_that_share_bytes_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    one, other, last = (
        ByteRange.of(name, tmp_path / "file", (2, 4), offset, F32) for name, offset in (("a", 0), ("b", 28), ("c", 60))
    )
    with pytest.raises(CheckpointError, match="file: tensors a and b share bytes 28 to 31"):
        check_apart([last, other, one])
    check_apart([last, one])


@pytest.mark.parametrize("columns", [slice(0, 96), slice(8, 64)], ids=["whole rows", "parts of rows"])
def test_a_file_that_became_shorter_is_refused_by_name(tmp_path: Path, columns: slice) -> None:
    file = tmp_path / "w"
    source, _ = write(file, (9, 96), 1, F32)
    with file.open("r+b") as opened:
        opened.truncate(8 * 96 * 4)
    with pytest.raises(CheckpointError, match="w: became shorter while it was read"):
        source.read((slice(None), columns))


@pytest.mark.parametrize("columns", [slice(0, 96), slice(8, 64)], ids=["whole rows", "parts of rows"])
def test_a_file_that_went_is_refused_by_name(tmp_path: Path, columns: slice) -> None:
    file = tmp_path / "w"
    source, _ = write(file, (9, 96), 1, F32)
    file.unlink()
    with pytest.raises(CheckpointError, match="w cannot be read: No such file"):
        source.read((slice(None), columns))


def test_what_is_read_is_not_copied_to_the_cpu_backend(tmp_path: Path) -> None:
    source, _ = write(tmp_path / "w", (9, 96), 1, F32)
    numbers = [source.read(()) for _ in range(8)]  # memory begins elsewhere each time
    arrays = [jax.device_put(each, jax.devices("cpu")[0]) for each in numbers]
    assert [each.unsafe_buffer_pointer() for each in arrays] == [each.ctypes.data for each in numbers]
