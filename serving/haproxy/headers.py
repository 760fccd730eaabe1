"""Headers that HAProxy knows by name."""

RAY_HEADERS = (
    "^(serve[-_])?multiplexed[-_]model[-_]id$",
    "^x-request-timeout-seconds$",
    "^x-request-disconnect-disabled$",
    "^x-serve-router-",
    "^x(_session[-_]|-session_)id$",  # other spellings of x-session-id that Ray takes and we do not
    "^tracestate$",
)
"""Headers, as regular expressions, by which Ray Serve would be told what to do: none comes from outside."""

READ_HEADERS = ("x-request-id", "x-session-id", "x-tenant-id", "traceparent")
"""Headers that are read as text before the caller is known."""


def without_ray_headers() -> list[str]:
    """The rules that remove `RAY_HEADERS`."""
    return [f"http-request del-header '{name}' -m reg" for name in RAY_HEADERS]
