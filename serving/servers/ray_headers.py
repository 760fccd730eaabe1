"""Headers that say more than HTTP: Ray Serve's own, and those that are read before it is known who calls."""

RAY_HEADERS = (
    "^(serve[-_])?multiplexed[-_]model[-_]id$",
    "^x-request-timeout-seconds$",
    "^x-request-disconnect-disabled$",
    "^x-serve-router-",
    "^x(_session[-_]|-session_)id$",  # other spellings of x-session-id that Ray takes and we do not
    "^tracestate$",
)
"""Names, as regular expressions, by which Ray Serve would be told what to do: none comes from outside."""

READ_HEADERS = ("x-session-id", "x-tenant-id", "traceparent")
"""Headers that are read as text. So is `x-request-id`, which is left out where it is none: a request gets another."""

ADDRESS_HEADER = "x-forwarded-for"
"""Where HAProxy names the address at the other end of its connection, and that alone."""
