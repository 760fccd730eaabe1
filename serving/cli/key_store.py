"""KeyStore: where `codegemma keys` keeps keys: a file, or a Secret of a cluster."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import typer

from serving.access.keys import KeyFile, KeyFileError
from serving.cli.errors import say_error


class KeyStore(Protocol):
    """Holds a key file.

    `str` of it names it in messages.
    """

    def read(self) -> KeyFile | None:
        """Its keys; None if it is not there yet."""
        ...

    def write(self, keys: KeyFile) -> None:
        """Puts keys in their place."""
        ...


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> KeyFile | None:
        return KeyFile.read(self._path) if self._path.exists() else None

    def write(self, keys: KeyFile) -> None:
        keys.write(self._path)


@contextmanager
def key_store(
    file: Path, secret: str | None, context: str | None, namespace: str | None, *, to_change: bool = False
) -> Iterator[KeyStore]:
    """The store that the options name; ends the command with one line when something is wrong with it.

    Args:
      file: holds the keys.
      secret: holds the file, in a cluster; None means this machine.
      context: the cluster.
      namespace: where in it.
      to_change: others who want to change the store wait until the block ends; in a Secret the later one fails.
    """
    try:
        if secret is None:
            with _locked(Path(os.path.realpath(file)).parent) if to_change else nullcontext():
                yield _File(file)
            return
        from serving.cli.cluster_connection import cluster_of
        from serving.cluster.key_secret import SecretKeys

        with cluster_of(context, namespace) as cluster:
            yield SecretKeys(cluster, secret, file.name)
    except KeyFileError as error:
        say_error(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        say_error(f"{file} cannot be written: {error.strerror}. Choose another with --file.")
        raise typer.Exit(1) from None


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Waits for the lock and holds it; on the directory, because its files are replaced."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
