"""free_port: where a test or a benchmark lets something listen."""

from serving.servers.reserved_port import reserve_port


def free_port() -> int:
    """A port of the loopback interface that is reserved for what this process starts."""
    reserved = reserve_port(("127.0.0.1", 0))
    port = int(reserved.getsockname()[1])
    reserved.detach()  # it stays open for as long as this process runs
    return port
