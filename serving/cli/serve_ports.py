"""The ports on which `codegemma serve` will listen."""

import os
import socket
import stat
from contextlib import ExitStack
from typing import Any

from serving.cli.serve_file import ServeFile, ServeFileError
from serving.servers.reserved_port import reserve_port

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def reserve_ports(file: ServeFile, rays_metrics: tuple[str, int]) -> ExitStack:
    """Reserves all of them; no other program gets one before the stack is closed, even while the service restarts.

    Args:
      file: the service.
      rays_metrics: where Ray exports its metrics, and ours.

    Raises:
      ServeFileError: one is taken; names it and says how another is chosen.
    """
    wanted = [
        ("HTTP", "--http-port", file.http_address),
        ("gRPC", "--grpc-port", file.grpc_address),
        ("The exporter of metrics", "--metrics-port", rays_metrics),
    ]
    ports: list[socket.socket] = []
    with ExitStack() as reserved:
        for what, option, address in wanted:
            try:
                port = reserved.enter_context(reserve_port(address))
            except OSError as error:
                where = f"{address[0]}:{address[1]}"
                raise ServeFileError(
                    f"{what} cannot listen on {where}: {error.strerror}. Choose another with {option}."
                ) from None
            ports.append(port)
        _close_inherited({port.getsockname() for port in ports})
        for port in ports:  # by the new `codegemma serve` that this one becomes; Ray's processes close it
            port.set_inheritable(True)
        return reserved.pop_all()


def _close_inherited(addresses: set[tuple[Any, ...]]) -> None:
    """Closes what the `codegemma serve` that this one was before has reserved, now that it is reserved again."""
    for name in os.listdir("/dev/fd"):
        number = int(name)
        try:
            if not os.get_inheritable(number) or not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:  # of the folder itself, which is closed again
            continue
        inherited = socket.socket(fileno=number)
        if inherited.family in _FAMILIES and inherited.getsockname() in addresses:
            inherited.close()
        else:
            inherited.detach()
