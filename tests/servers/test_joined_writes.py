"""What is written to a connection in one turn of the event loop leaves together."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from serving.servers.joined_writes import JoinedWrites


class Connection(asyncio.Transport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True


async def _turn() -> None:
    await asyncio.sleep(0)


async def test_writes_of_one_turn_leave_together_and_those_of_the_next_after_them() -> None:
    connection = Connection()
    writes = JoinedWrites(connection, asyncio.get_running_loop())
    writes.write(b"head")
    writes.write(b"body")
    assert connection.sent == []
    await _turn()
    writes.write(b"more")
    await _turn()
    assert connection.sent == [b"headbody", b"more"]


async def test_what_waits_is_sent_before_the_connection_closes() -> None:
    connection = Connection()
    writes = JoinedWrites(connection, asyncio.get_running_loop())
    writes.write(b"last")
    writes.close()
    await _turn()
    assert connection.sent == [b"last"] and connection.closed


async def test_much_does_not_wait_for_the_end_of_the_turn() -> None:
    connection = Connection()
    writes = JoinedWrites(connection, asyncio.get_running_loop())
    writes.write(bytes(1_000_000))
    assert connection.sent == [bytes(1_000_000)]


@given(st.lists(st.tuples(st.binary(max_size=100_000), st.booleans())))
def test_every_byte_leaves_once_and_in_order(written: list[tuple[bytes, bool]]) -> None:
    async def send() -> bytes:
        connection = Connection()
        writes = JoinedWrites(connection, asyncio.get_running_loop())
        for data, ends_turn in written:
            writes.write(data)
            if ends_turn:
                await _turn()
        writes.close()
        return b"".join(connection.sent)

    assert asyncio.run(send()) == b"".join(data for data, _ in written)


async def test_all_else_is_the_connections_own() -> None:
    writes = JoinedWrites(Connection(), asyncio.get_running_loop())
    assert writes.get_extra_info("peername") == ("127.0.0.1", 1)
