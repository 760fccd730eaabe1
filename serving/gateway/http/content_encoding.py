"""Decoder: a request's body as its `Content-Encoding` has packed it, unpacked no further than the limit."""

import zlib
from typing import Protocol

from serving.errors import FieldError, Reason, ServingError
from serving.gateway.shown import shown

_GZIP = 16 + zlib.MAX_WBITS
"""zlib's name for the format of RFC 1952."""


class Decoder(Protocol):
    """Unpacks a body part by part."""

    def feed(self, part: bytes, most: int) -> bytes:
        """What the part unpacks to; of more than `most` bytes, no more than one byte beyond.

        Raises:
          ServingError: MALFORMED_BODY.
        """
        ...

    def end(self) -> None:
        """Raises `ServingError`, MALFORMED_BODY, if the body is not whole."""
        ...


def decoder(content_encoding: str) -> Decoder:
    """The decoder for a header's value.

    Raises:
      ServingError: INVALID_ARGUMENT for an encoding that is not read here.
    """
    match content_encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Gzip()
        case _:
            raise FieldError(
                Reason.INVALID_ARGUMENT,
                "content-encoding",
                f"is {shown(content_encoding)}; allowed is gzip. Or send the body as it is, without the header.",
            )


class _Plain:
    def feed(self, part: bytes, most: int) -> bytes:
        return part

    def end(self) -> None:
        pass


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, part: bytes, most: int) -> bytes:
        try:
            data = self._inflate.decompress(part, most + 1)
        except zlib.error as error:
            raise _malformed(f"{error}") from None
        if self._inflate.unused_data:
            raise _malformed("something follows its end")
        return data

    def end(self) -> None:
        if not self._inflate.eof:
            raise _malformed("it ends too soon")


def _malformed(fault: str) -> ServingError:
    return ServingError(Reason.MALFORMED_BODY, f"The body is not what content-encoding says, gzip: {fault}.")
