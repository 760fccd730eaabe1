"""Rules on headers for both protocols."""

from serving.ray_headers import RAY_HEADERS


def without_ray_headers() -> list[str]:
    """The rules that remove `RAY_HEADERS`."""
    return [f"http-request del-header '{name}' -m reg" for name in RAY_HEADERS]
