"""Rules on headers for both protocols."""

from serving.ray_headers import ADDRESS_HEADER, RAY_HEADERS


def without_ray_headers() -> list[str]:
    """The rules that remove `RAY_HEADERS`."""
    return [f"http-request del-header '{name}' -m reg" for name in RAY_HEADERS]


def with_address() -> str:
    """The rule that says in `ADDRESS_HEADER` where a request comes from; what a client says of it does not count."""
    return f"http-request set-header {ADDRESS_HEADER} %[src]"
