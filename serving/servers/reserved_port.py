"""A TCP port that is kept for a server which binds it later, and perhaps again after that."""

import socket


def reserve_port(address: tuple[str, int]) -> socket.socket:
    """Bind an address without listening: as long as the socket is open, nobody comes upon the port by chance.

    Between the look whether a port is free and the server that binds it there are seconds in which the kernel may give
    it away: to a server that asks for any port, or to an outgoing connection (ip(7), ip_local_port_range), of which
    Ray makes hundreds while it starts. On Linux a server that sets SO_REUSEADDR binds the port nevertheless, as nobody
    listens: HAProxy, gRPC, Python's and Ray's HTTP servers and Redis do.

    Args:
      address: host and port; port 0 takes any that is free (`getsockname` says which).

    Raises:
      OSError: the port is taken, or the host has no address.
    """
    host, port = address
    family, kind, protocol, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    reserved = socket.socket(family, kind, protocol)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(found)
    except OSError:
        reserved.close()
        raise
    return reserved
