"""Damage to the datasets of an HDF5 file, made by HDF5 itself: what it can say and no writer of Keras does."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.damage.kinds.damage import Damage, Draw, Kind, pick


def _virtual(opened: h5py.File, name: str, values: np.ndarray) -> None:
    layout = h5py.VirtualLayout(shape=values.shape, dtype=values.dtype)
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", shape=values.shape)
    opened.create_virtual_dataset(name, layout)


def _external(opened: h5py.File, name: str, values: np.ndarray) -> None:
    where = [("/etc/passwd", 0, values.nbytes)]
    opened.create_dataset(name, shape=values.shape, dtype=values.dtype, external=where)


_INSTEAD: dict[str, Callable[[h5py.File, str, np.ndarray], object]] = {
    "missing": lambda opened, name, values: None,
    "of float64": lambda opened, name, values: opened.create_dataset(name, data=values.astype(np.float64)),
    "big-endian": lambda opened, name, values: opened.create_dataset(name, data=values.astype(">f4")),
    "of integers": lambda opened, name, values: opened.create_dataset(name, data=values.astype(np.int8)),
    "of text": lambda opened, name, values: opened.create_dataset(name, data="x" * 100),
    "one row shorter": lambda opened, name, values: opened.create_dataset(name, data=values[1:]),
    "of one more axis": lambda opened, name, values: opened.create_dataset(name, data=values[None]),
    "a scalar": lambda opened, name, values: opened.create_dataset(name, data=np.float32(1)),
    "empty": lambda opened, name, values: opened.create_dataset(name, data=h5py.Empty("f4")),
    "without values": lambda opened, name, values: opened.create_dataset(name, shape=values.shape, dtype="f4"),
    "huge": lambda opened, name, values: opened.create_dataset(name, shape=(2**40, 2**20), dtype="f4"),
    "compressed": lambda opened, name, values: opened.create_dataset(name, data=values, compression="gzip"),
    "summed": lambda opened, name, values: opened.create_dataset(name, data=values, fletcher32=True),
    "virtual": _virtual,
    "in another file": _external,
    "a link": lambda opened, name, values: opened.__setitem__(name, h5py.SoftLink("/layers")),
    "a link elsewhere": lambda opened, name, values: opened.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/")),
    "a link to itself": lambda opened, name, values: opened.__setitem__(name, h5py.SoftLink(f"/{name}")),
    "a group in itself": lambda opened, name, values: opened.__setitem__(name, opened[name.split("/")[0]]),
    "a group": lambda opened, name, values: opened.create_group(name),
    "not finite": lambda opened, name, values: opened.create_dataset(name, data=np.full_like(values, np.nan)),
    "renamed": lambda opened, name, values: opened.create_dataset(f"{name}\nx", data=values),
}


def _dataset(file: Path, draw: Draw) -> Damage:
    said, act = pick(draw, list(_INSTEAD.items()))
    with h5py.File(file, "r+") as opened:
        names: list[str] = []
        opened.visititems(lambda name, entry: names.append(name) if isinstance(entry, h5py.Dataset) else None)
        name = pick(draw, names)
        values = opened[name][()]
        del opened[name]
        act(opened, name, values)
    return Damage(text=f"{name} is {said} in {file.name}", refused=True)


def _moved(file: Path, draw: Draw) -> Damage:
    """Bytes of an address or a size in the structures of the file."""
    data = bytearray(file.read_bytes())
    structures = [place for place in range(0, len(data) - 8, 8) if data[place : place + 4] in _SIGNATURES]
    at = pick(draw, structures) + 8 * int(draw.integers(1, 8))
    value = pick(draw, [0, 96, at, 2**31, 2**63 - 1, 2**64 - 1, len(data)])
    data[at : at + 8] = value.to_bytes(8, "little")
    file.write_bytes(data)
    return Damage(text=f"{value} at {at} in {file.name}")


_SIGNATURES = (b"TREE", b"HEAP", b"SNOD", b"\x89HDF")
HDF5 = {
    kind: Kind(lambda file: file.suffix == ".h5", act)
    for kind, act in {
        "dataset": _dataset,
        "another dataset": _dataset,
        "a third dataset": _dataset,
        "structure of HDF5": _moved,
    }.items()
}
