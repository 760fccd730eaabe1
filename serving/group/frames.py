"""Frames: messages on a connection, each behind its length."""

import socket
from struct import Struct

_HEAD = Struct("<I")


def frame(message: bytes) -> bytes:
    """A message as it is sent."""
    return _HEAD.pack(len(message)) + message


class Frames:
    """What arrives on a connection, frame by frame.

    Attributes:
      unread: what has arrived of the next frames.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.unread = b""

    def receive(self) -> bytes:
        """Returns the next message.

        Raises ConnectionError when the peer breaks off, TimeoutError when it is silent for too long.
        """
        data = self.unread or receive_some(self._connection)
        while len(data) < _HEAD.size:
            data += receive_some(self._connection)
        (size,) = _HEAD.unpack_from(data)
        end = _HEAD.size + size
        while len(data) < end:
            data += receive_some(self._connection)
        self.unread = data[end:]
        return data[_HEAD.size : end]


def receive_some(connection: socket.socket, most: int = 1 << 16) -> bytes:
    """Returns what has arrived, at least a byte; raises ConnectionResetError when the peer breaks off."""
    if not (data := connection.recv(most)):
        raise ConnectionResetError("the connection was closed")
    return data
