"""One case: a copy of a checkpoint, damaged in one way, and what was wrong with how it was taken."""

import zlib
from pathlib import Path

import numpy as np

from tests.damage.kinds.archives import ARCHIVES
from tests.damage.kinds.damage import Damage, Kind
from tests.damage.kinds.documents import DOCUMENTS
from tests.damage.kinds.files import FILES
from tests.damage.kinds.gguf_fields import GGUF_FIELDS
from tests.damage.kinds.hdf5 import HDF5
from tests.damage.kinds.pickles import PICKLES
from tests.damage.kinds.raw import RAW, not_finite
from tests.damage.kinds.tokenizers import TOKENIZERS

KINDS = RAW | FILES | DOCUMENTS | PICKLES | ARCHIVES | HDF5 | GGUF_FIELDS | TOKENIZERS


class Damager:
    """Damages copies of one checkpoint.

    Attributes:
      kinds: by name: the ways that suit one of its files at least.
    """

    def __init__(self, form: str, whole: Path, numbers: list[bytes]) -> None:
        """Take a checkpoint.

        Args:
          form: its name, of which the draws depend.
          whole: the directory of the undamaged one.
          numbers: the beginning of a tensor as it may lie in a file, in several types.
        """
        self._form = zlib.crc32(form.encode())
        kinds = KINDS | {f"not finite {number}": not_finite(data) for number, data in enumerate(numbers)}
        self._suited = {
            name: [file.relative_to(whole) for file in _files(whole) if kind.suits(file)]
            for name, kind in kinds.items()
        }
        self.kinds: dict[str, Kind] = {name: kind for name, kind in kinds.items() if self._suited[name]}

    def damage(self, copy: Path, seed: int, number: int) -> tuple[str, Damage]:
        """Damages a copy; cases go through the kinds in turns. Returns the kind and what was done."""
        draw = np.random.default_rng([seed, number, self._form])
        name = list(self.kinds)[number % len(self.kinds)]
        files = self._suited[name]
        return name, self.kinds[name].damage(copy / files[int(draw.integers(len(files)))], draw)


def _files(directory: Path) -> list[Path]:
    return sorted(file for file in directory.rglob("*") if file.is_file())
