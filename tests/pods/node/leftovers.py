"""Removes all that a run makes: its own, and what one left that was killed."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.pods.node import container, folder, image, network


@contextmanager
def removed() -> Iterator[None]:
    """Before and after: then there is nothing."""
    _remove()
    folder.FOLDER.mkdir(mode=0o700)
    try:
        yield
    finally:
        _remove()


def _remove() -> None:
    container.remove_all()
    folder.unmount_all()
    network.remove_all()
    image.remove()
    folder.remove()
