"""Stream: an answer that comes in parts."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from codegemma.client.errors import api_error


class Stream[R](Iterator[R]):
    """Iterates over the parts of an answer.

    Closing it, from any thread, cancels the call, which ends the server's work; so does dropping it before its end,
    or leaving it as a context manager. A closed stream has no further parts.
    """

    def __init__(self, call: Any) -> None:
        """Takes over a call that `grpc` has started."""
        self._call = call
        self._is_closed = False

    def __next__(self) -> R:
        try:
            part: R = next(self._call)
        except grpc.RpcError as error:
            if self._is_closed:
                raise StopIteration from None
            raise api_error(error) from None
        return part

    def close(self) -> None:
        """Cancels the call; does nothing after its end."""
        self._is_closed = True
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
