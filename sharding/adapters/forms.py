"""The forms of adapters that are known, in the order in which they are tried."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sharding.adapters.adapter import AdapterError
from sharding.adapters.form import AdapterForm
from sharding.adapters.nemo import NEMO
from sharding.adapters.peft import PEFT
from sharding.adapters.stored import StoredAdapter
from sharding.checkpoint.errors import CheckpointError

FORMS = (PEFT, NEMO)


def adapter_form(path: Path) -> AdapterForm:
    """The form of an adapter.

    Raises:
      AdapterError: it is of none.
    """
    for form in FORMS:
        if form.recognises(path):
            return form
    if not path.exists():
        raise AdapterError(f"{path}: there is no such file or directory.")
    raise AdapterError(f"{path}: is no adapter of a known form ({', '.join(form.name for form in FORMS)}).")


def is_adapter(path: Path) -> bool:
    """Whether a file or directory is an adapter, not a whole model."""
    return any(form.recognises(path) and form.is_adapter(path) for form in FORMS)


def open_adapter(path: Path) -> StoredAdapter:
    """Opens a file or directory of any of `FORMS`; reads headers only.

    Raises:
      AdapterError: nothing is there, or it is no adapter that can be computed with. Names file and tensor.
    """
    with adapter_errors():
        stored = adapter_form(path).open(path)
    for matrix in stored.tensors.values():
        if 0 in matrix.shape:
            raise AdapterError(f"{matrix.file}: tensor {matrix.name} has shape {matrix.shape}, no numbers at all.")
    return stored


def adapter_version(path: Path) -> str:
    """What names the contents of an adapter, the same wherever it lies: a hash of its files and their names.

    Raises:
      AdapterError: there is none, or it cannot be read.
    """
    found = hashlib.sha256()
    with adapter_errors():
        for file in adapter_form(path).files(path):
            with file.open("rb") as opened:
                of_file = hashlib.file_digest(opened, "sha256").digest()
            found.update(b"%s\0%s" % (bytes(file.relative_to(path)), of_file))
    return found.hexdigest()


@contextmanager
def adapter_errors() -> Iterator[None]:
    """Makes what is wrong with the files of an adapter an AdapterError."""
    try:
        yield
    except AdapterError:
        raise
    except CheckpointError as error:
        raise AdapterError(str(error)) from None
    except OSError as error:
        raise AdapterError(f"{error.filename or 'the adapter'}: {error.strerror or error}.") from None
