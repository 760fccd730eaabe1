"""Rules on headers for both protocols."""

from serving.request_id import REQUEST_ID_HEADER, REQUEST_ID_PATTERN
from serving.servers.ray_headers import ADDRESS_HEADER, RAY_HEADERS


def without_ray_headers() -> list[str]:
    """The rules that remove `RAY_HEADERS`."""
    return [f"http-request del-header '{name}' -m reg" for name in RAY_HEADERS]


def with_address() -> str:
    """The rule that says in `ADDRESS_HEADER` where a request comes from; what a client says of it does not count."""
    return f"http-request set-header {ADDRESS_HEADER} %[src]"


def without_bad_ids(*names: str) -> list[str]:
    """The rules that drop a request id that is not allowed: the Gateway makes another.

    Args:
      names: of headers that have it besides `REQUEST_ID_HEADER`.
    """
    return [
        f"http-request del-header {name} unless {{ req.fhdr({name}) -m reg '^{REQUEST_ID_PATTERN}$' }}"
        for name in (REQUEST_ID_HEADER, *names)
    ]
