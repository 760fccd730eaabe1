"""A program that prints the datasets of an HDF5 file as JSON, so that they can be read without HDF5.

    python hdf5_listing.py FILE

The library is written in C, has one lock, and damaged files have crashed it and kept it busy without end; so it runs in
a process of its own with bounded memory and time, and on what the file says of its datasets alone. If it fails, the
last line that it prints says why.
"""

import json
import os
import resource
import sys

import h5py

_MEMORY_BYTES = 2**31
_SECONDS = 4
_MAX_ENTRIES = 2**15
_MAX_DEPTH = 16


def main(file: str) -> None:
    """Prints `{name: [dtype, shape, offset]}`; the dtype is NumPy's, or `bfloat16`, which HDF5 does not know."""
    for limit, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    found: dict[str, tuple[str, tuple[int, ...], int]] = {}
    with h5py.File(file, "r", locking=False) as opened:
        if opened.userblock_size:
            sys.exit(f"it begins with {opened.userblock_size} bytes of something else")
        if (more := os.path.getsize(file) - _end(file)) > 0:
            sys.exit(f"nothing describes its last {more} bytes")
        groups: list[tuple[str, h5py.Group]] = [("", opened)]
        entries = 0
        while groups:
            prefix, group = groups.pop()
            for key in group:
                entries += 1
                name = f"{prefix}{key}"
                if entries > _MAX_ENTRIES or name.count("/") > _MAX_DEPTH:
                    sys.exit(f"it has more than {_MAX_ENTRIES} entries, or some in more than {_MAX_DEPTH} groups")
                if not name.isprintable():
                    sys.exit(f"an entry has the name {name!r}")
                if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                    sys.exit(f"{name} is a link; what it leads to is not read")
                entry = group[key]
                if isinstance(entry, h5py.Group):
                    groups.append((f"{name}/", entry))
                elif isinstance(entry, h5py.Dataset):
                    found[name] = _dataset(name, entry)
    print(json.dumps(found))


def _end(file: str) -> int:
    """The byte at which a file is said to end: HDF5 itself does not mind more, and then data lie elsewhere."""
    with open(file, "rb") as opened:
        superblock = opened.read(52)
    # Three addresses one after the other, the last one this, behind what the version of the superblock has.
    version = superblock[8]
    size, first = (superblock[9], 12) if version > 1 else (superblock[13], 28 if version else 24)
    return int.from_bytes(superblock[first + 2 * size : first + 3 * size], "little")


def _dataset(name: str, dataset: h5py.Dataset) -> tuple[str, tuple[int, ...], int]:
    if dataset.is_virtual or dataset.external:
        sys.exit(f"{name} lies in other files, which are not read")
    if dataset.chunks is not None:
        sys.exit(f"{name} is stored in chunks or compressed, which Keras does not do. `h5repack -l CONTI` undoes that")
    if dataset.shape is None:
        sys.exit(f"{name} has no values")
    offset = dataset.id.get_offset()
    if offset is None:
        if dataset.size:
            sys.exit(f"{name} has no values")
        offset = 0
    is_bfloat16 = dataset.dtype.str == "|V2" and dataset.attrs.get("dtype") == "bfloat16"  # opaque bytes to HDF5
    return ("bfloat16" if is_bfloat16 else dataset.dtype.str), dataset.shape, offset


if __name__ == "__main__":
    main(sys.argv[1])
