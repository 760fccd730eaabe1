"""A TCP port that is kept for a server which binds it later, and perhaps again after that."""

import socket


def reserve_port(address: tuple[str, int]) -> socket.socket:
    """Bind an address without listening: while the socket is open, no other program gets the port by chance.

    Seconds pass between the check that a port is free and the bind of the server. In these the kernel may give the port
    away: to a server that asks for any port, or to an outgoing connection (ip(7), ip_local_port_range), of which Ray
    makes hundreds while it starts. On Linux a server that sets SO_REUSEADDR can bind the port nevertheless, as no
    socket listens: HAProxy, gRPC, Python's and Ray's HTTP servers and Redis do.

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
