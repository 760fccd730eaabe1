"""How an API writes an answer: bytes from the pieces and the end of the gateway, without I/O."""

from abc import ABC, abstractmethod

from serving.errors import ServingError
from serving.gateway.http.framing import Framing
from serving.gateway.request import AnswerPart, End, Piece, Usage


class WholeAnswer(ABC):
    """Writes an answer that is sent when it is complete, as JSON."""

    @abstractmethod
    def add(self, part: AnswerPart) -> None:
        """Takes the next piece."""

    @abstractmethod
    def body(self) -> object:
        """What is sent, once all pieces are there."""


class WholeText(WholeAnswer):
    """An answer with one choice, whose text is all that is sent of its pieces.

    Attributes:
      last: the last piece, which has the finish reason.
      usage: of the answer.
    """

    def __init__(self) -> None:
        """Begins without a piece."""
        self.last = Piece()
        self.usage = Usage()
        self._texts: list[str] = []

    def add(self, part: AnswerPart) -> None:
        """As `WholeAnswer.add`."""
        if isinstance(part, End):
            self.usage = part.usage
        else:
            self._texts.append(part.text)
            self.last = part

    @property
    def text(self) -> str:
        """That of all pieces."""
        return "".join(self._texts)


class StreamedAnswer(ABC):
    """Writes an answer piece by piece. What it returns is framed, and empty where nothing is to be sent.

    Attributes:
      framing: how the parts of the stream are separated.
    """

    framing: Framing

    @abstractmethod
    def piece(self, part: AnswerPart) -> bytes:
        """Writes the next piece."""

    @abstractmethod
    def end(self) -> bytes:
        """Writes what comes after the last piece."""

    @abstractmethod
    def error(self, error: ServingError) -> bytes:
        """Writes what comes last in place of the rest."""
