"""Files of torch.save: tensors are found where they lie; what is no tensor is neither run nor believed."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.checkpoint import CheckpointError
from sharding.checkpoint.pickle_reader import read_pickle
from sharding.checkpoint.strided import StridedMatrix
from sharding.checkpoint.torch_file import is_torch_file, read_torch_file
from tests.sharding.checkpoint.torch_files import (
    Call,
    Global,
    Opcodes,
    Persistent,
    Strided,
    TorchFile,
    dumps,
    write_torch_file,
)

VALUES = np.arange(1, 25, dtype=np.float32).reshape(4, 6)
ORDERED_DICT = Call(Global("collections OrderedDict"))


def whole(matrix: StridedMatrix) -> npt.NDArray[Any]:
    rows, columns = (slice(0, size) for size in matrix.shape)
    return matrix.read(rows, columns, matrix.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8])
def test_tensors_are_read_under_their_names(tmp_path: Path, dtype: npt.DTypeLike) -> None:
    values = VALUES.astype(dtype)
    found = read_torch_file(write_torch_file(tmp_path / "w.pt", {"model": {"a": values, "b": values[1]}, "step": 3}))
    assert found.keys() == {"model.a", "model.b"}
    np.testing.assert_array_equal(whole(found["model.a"]), values, strict=True)
    np.testing.assert_array_equal(whole(found["model.b"]), values[1:2], strict=True)


@st.composite
def span(draw: st.DrawFn, size: int) -> "slice[int, int]":
    start, stop = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    return slice(start, stop)


@given(data=st.data())
@settings(deadline=None)
def test_a_part_of_a_view_equals_that_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    base = VALUES
    rows, columns = data.draw(span(4)), data.draw(span(6))
    view = base[rows, columns.start : columns.stop : data.draw(st.integers(1, 3))]
    view = view.T if data.draw(st.booleans()) else view
    start = (view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // 4 if view.size else 0
    strided = Strided(base.reshape(-1), start, view.shape, tuple(stride // 4 for stride in view.strides))
    file = tmp_path_factory.mktemp("torch") / "w.pt"
    matrix = read_torch_file(write_torch_file(file, strided))[""]
    assert matrix.shape == view.shape
    rows, columns = (data.draw(span(size)) for size in view.shape)
    np.testing.assert_array_equal(matrix.read(rows, columns, np.float32), view[rows, columns], strict=True)


def test_leading_axes_are_rows(tmp_path: Path) -> None:
    values = VALUES.reshape(2, 1, 3, 4)
    matrix = read_torch_file(write_torch_file(tmp_path / "w.pt", values))[""]
    assert (matrix.axes, matrix.shape) == ((2, 1, 3, 4), (6, 4))
    np.testing.assert_array_equal(whole(matrix), VALUES.reshape(6, 4))


def test_a_part_of_a_file_is_read_as_a_file(tmp_path: Path) -> None:
    one, other = (TorchFile().data(VALUES + number) for number in (0, 1))
    (tmp_path / "w.distcp").write_bytes(b"x" + one + other)
    second = read_torch_file(tmp_path / "w.distcp", 1 + len(one), len(other))[""]
    np.testing.assert_array_equal(whole(second), VALUES + 1)


def test_tensors_may_share_a_storage(tmp_path: Path) -> None:
    storage = VALUES.reshape(-1)
    tensors = {"a": Strided(storage, 0, (4, 6), (6, 1)), "b": Strided(storage, 6, (6,), (1,))}
    found = read_torch_file(write_torch_file(tmp_path / "w.pt", tensors))
    np.testing.assert_array_equal(whole(found["b"])[0], VALUES[1])


def test_extra_states_are_left_out(tmp_path: Path) -> None:
    data = Call(Global("_codecs encode"), ("PK\x03\x04", "latin1"))
    state = {"a": VALUES, "b._extra_state": None, "c._extra_state": Call(Global("_io BytesIO"), (data,))}
    assert read_torch_file(write_torch_file(tmp_path / "w.pt", state)).keys() == {"a"}


def test_a_file_is_recognised_by_its_first_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", b"")
    (tmp_path / "empty").write_bytes(b"")
    assert is_torch_file(write_torch_file(tmp_path / "w.pt", {}))
    assert not any(map(is_torch_file, (tmp_path / "other.zip", tmp_path / "empty", tmp_path, tmp_path / "none")))


@pytest.mark.parametrize(
    "name", ["os system", "builtins eval", "builtins getattr", "torch.storage _load_from_bytes", "torch._utils x"]
)
def test_a_global_that_is_no_part_of_weights_is_refused_by_name(tmp_path: Path, name: str) -> None:
    evil = Call(Global(name), ("touch " + str(tmp_path / "run"),))
    file = write_torch_file(tmp_path / "w.pt", {"a": evil})
    with pytest.raises(CheckpointError, match=rf"w\.pt: .* asks for '{name.replace(' ', '.')}', which is no part"):
        read_torch_file(file)
    assert not (tmp_path / "run").exists()


def storage(key: object = "0", count: object = 24, kind: object = Global("torch FloatStorage")) -> Persistent:
    return Persistent(("storage", kind, key, "cpu", count))


def tensor(where: object, start: object = 0, shape: object = (4, 6), strides: object = (6, 1)) -> Call:
    return Call(Global("torch._utils _rebuild_tensor_v2"), (where, start, shape, strides, False, ORDERED_DICT))


ENTANGLED = Opcodes(b")" + b"q\x00h\x00\x86" * 60)
"""A tuple of a tuple twice, and so on: its comparison, hash or text would take for ever."""

DAMAGED: list[tuple[str, object, str]] = [
    ("storage that is missing", tensor(storage("1")), "its storage '1' is missing"),
    ("storage of another size", tensor(storage(count=25)), "storage 0 has 96 bytes, not those of 25 F32"),
    ("storage of another type", tensor(storage(kind=Global("torch HalfStorage"))), "not those of 24 F16"),
    ("storage with an entangled name", tensor(storage(ENTANGLED)), "a storage without a name"),
    ("tensor beyond its storage", tensor(storage(), 1), "reaches beyond the 24 numbers"),
    (
        "tensor with more numbers than its storage",
        tensor(storage(), 0, (2**20, 2**20), (0, 0)),
        "more numbers than the 24",
    ),
    ("tensor with huge strides", tensor(storage(), 0, (4, 6), (2**60, 1)), "reaches beyond the 24 numbers"),
    ("negative stride", tensor(storage(), 0, (4, 6), (-6, 1)), "no numbers from 0 on"),
    ("negative offset", tensor(storage(), -1), "no numbers from 0 on"),
    ("text as a size", tensor(storage(), 0, ("4", 6)), "no numbers from 0 on"),
    ("entangled shape", tensor(storage(), 0, ENTANGLED), "no numbers from 0 on"),
    ("fewer strides than axes", tensor(storage(), 0, (4, 6), (6,)), "other strides than axes"),
    ("many axes", tensor(storage(), 0, (1,) * 9, (1,) * 9), "other strides than axes"),
    ("rows that are not even", tensor(storage(), 0, (2, 2, 6), (6, 6, 1)), "its rows are not even"),
    ("tensor of no storage", tensor((1, 2)), "a tensor of no storage"),
    ("entangled key", Opcodes(b"}(" + ENTANGLED.data + b"K\x02u"), "a tuple as a key"),
    ("arguments of the wrong number", Call(Global("torch._utils _rebuild_tensor_v2"), (1,)), "TypeError"),
    ("call of a storage", Call(Global("torch FloatStorage"), (1,)), "cannot be called"),
]


@pytest.mark.parametrize(("value", "message"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_description_is_refused_by_file(tmp_path: Path, value: object, message: str) -> None:
    file = tmp_path / "w.pt"
    members = {"data/0": VALUES.tobytes(), "byteorder": b"little"}
    file.write_bytes(TorchFile(members=members).data({"w": value}))
    with pytest.raises(CheckpointError, match=rf"w\.pt: .*({message})"):
        read_torch_file(file)


def test_a_name_that_is_repeated_without_end_is_refused(tmp_path: Path) -> None:
    """Each of the tensors below a key bears it: 4 MB times 200."""
    view = Strided(VALUES.reshape(-1), 0, (1,), (1,))
    file = write_torch_file(tmp_path / "w.pt", {"A" * 2**22: {number: view for number in range(200)}})
    with pytest.raises(CheckpointError, match=r"w\.pt: .* a key of 4194304 characters; 256 are the most"):
        read_torch_file(file)


def edited(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        assert old in data and len(old) == len(new)
        return data.replace(old, new)

    return edit


DAMAGED_ZIPS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("cut", lambda data: data[:-1], "not a zip file"),
    ("empty", lambda data: b"", "not a zip file"),
    ("old format of torch.save", lambda data: b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "not a zip file"),
    ("big-endian", edited(b"little", b"BIGGER"), "not little-endian"),
    ("no pickle", edited(b"data.pkl", b"data.pkx"), "0 members data.pkl"),
    ("local header elsewhere", edited(b"PK\x03\x04", b"PK\x03\x05"), "not where it should be"),
    ("directory beyond the file", lambda data: data[:-6] + struct.pack("<I", 2**31) + data[-2:], "points to byte -"),
]


@pytest.mark.parametrize(
    ("damage", "message"), [case[1:] for case in DAMAGED_ZIPS], ids=[case[0] for case in DAMAGED_ZIPS]
)
def test_a_damaged_zip_is_refused_by_file(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    (tmp_path / "w.pt").write_bytes(damage(TorchFile().data({"w": VALUES})))
    with pytest.raises(CheckpointError, match=rf"w\.pt.*: .*{message}"):
        read_torch_file(tmp_path / "w.pt")


def test_compressed_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(TorchFile(compression=zipfile.ZIP_DEFLATED).data({"w": np.zeros(10**5, np.int8)}))
    with pytest.raises(CheckpointError, match=r"archive/\S+ is compressed or encrypted"):
        read_torch_file(tmp_path / "w.pt")


def test_storages_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Two members of the zip that lie in the same place: one of them is not what was saved."""
    data = TorchFile().data({"a": VALUES, "b": VALUES + 1})
    first, second = data.index(b"PK\x03\x04", 1), data.index(b"archive/data/1") - 30
    name = data.rindex(b"archive/data/1")
    offset = name - 4
    assert struct.unpack_from("<I", data, offset) == (second,)
    (tmp_path / "w.pt").write_bytes(data[:offset] + struct.pack("<I", first) + data[name:])
    with pytest.raises(CheckpointError, match="tensors data/0 and data/1 share bytes"):
        read_torch_file(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02(.",
        b"\x80\x02h\x00.",
        b"\x80\x02Nr\xff\xff\xff\xff",
        b"\x80\x02]N}u.",
        b"\x80\x02NP1\n.",
        b"\x80\x02X\xff\xff\xff\xffa.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02" + b"(" * 10_000 + b"t" * 10_000,
        b"\x80\x02" + b"]" * 2_000_000 + b".",
    ],
)
def test_a_damaged_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_pickle(data, {})


def test_a_large_index_of_the_memo_takes_no_memory() -> None:
    assert read_pickle(b"\x80\x02K\x07r\xff\xff\xff\xffj\xff\xff\xff\xff\x86.", {}) == (7, 7)


def test_a_pickle_gives_what_was_pickled() -> None:
    value: object = {"a": [1, -300, 2**40, None, True, "ü", (1, (), [])], "b": {1: 2}}
    assert read_pickle(dumps(value), {}) == value
