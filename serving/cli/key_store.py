"""KeyStore: where `codegemma keys` keeps keys: a file, or a Secret of a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import typer

from serving.cli.client import say_error
from serving.keys import KeyFile, KeyFileError


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
def key_store(file: Path, secret: str | None, context: str | None, namespace: str | None) -> Iterator[KeyStore]:
    """The store that the options name; ends the command with one line when something is wrong with it."""
    try:
        if secret is None:
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
