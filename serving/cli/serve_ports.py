"""The ports on which `codegemma serve` will listen."""

from contextlib import ExitStack

from serving.cli.serve_file import ServeFile, ServeFileError
from serving.reserved_port import reserve_port


def reserve_ports(file: ServeFile, rays_metrics: tuple[str, int]) -> ExitStack:
    """Reserves all of them; nobody else gets one before the stack is closed, also not while the service starts anew.

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
    with ExitStack() as reserved:
        for what, option, address in wanted:
            try:
                port = reserved.enter_context(reserve_port(address))
            except OSError as error:
                where = f"{address[0]}:{address[1]}"
                raise ServeFileError(
                    f"{what} cannot listen on {where}: {error.strerror}. Choose another with {option}."
                ) from None
            port.set_inheritable(True)  # by the new `codegemma serve` that this one becomes; Ray's processes close it
        return reserved.pop_all()
