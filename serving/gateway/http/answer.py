"""How an API writes an answer: bytes from the gateway's chunks, without I/O."""

from abc import ABC, abstractmethod
from typing import ClassVar

from serving.errors import ServingError
from serving.gateway.http.framing import Framing
from serving.gateway.request import CodeChunk


class WholeAnswer(ABC):
    """Writes an answer that is sent when it is complete, as JSON."""

    @abstractmethod
    def add(self, chunk: CodeChunk) -> None:
        """Takes the next piece."""

    @abstractmethod
    def body(self) -> object:
        """What is sent, once all pieces are there."""


class StreamedAnswer(ABC):
    """Writes an answer piece by piece. What it returns is framed, and empty where nothing is to be sent.

    Attributes:
      framing: how the parts of the stream are told apart.
    """

    framing: ClassVar[Framing]

    @abstractmethod
    def piece(self, chunk: CodeChunk) -> bytes:
        """Writes the next piece."""

    @abstractmethod
    def end(self) -> bytes:
        """Writes what comes after the last piece."""

    @abstractmethod
    def error(self, error: ServingError) -> bytes:
        """Writes what comes last in place of the rest."""
