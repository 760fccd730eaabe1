"""check_bounds: refuses JSON that would become too many Python objects, before it is parsed.

A list, an object or a string takes many times as much memory parsed as its two characters in a body, and everything
after the parser looks at each of them. Bodies are counted here for every format alike; text may be of any length.
"""

from serving.errors import Reason, ServingError

MAX_CONTAINERS = 20_000
"""Objects and lists in a body."""
MAX_STRINGS = 50_000
"""Strings in a body, names of fields included."""
MAX_VALUES = 600_000
"""Values in a body: 64 prompts of 8192 token ids are 524,288."""


def check_bounds(data: bytes | bytearray) -> None:
    """Counts what is outside of strings, in a time that depends on the body's length alone.

    It is exact for JSON. Of a body that is not, it counts at least what a parser comes across before the fault.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if _exceeded(data) is None:  # brackets and commas in texts were counted, and still it is little enough
        return
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # now each quote begins or ends a string
    if unescaped.count(b'"') > 2 * MAX_STRINGS:
        raise _refused(f"{MAX_STRINGS} strings")
    if (limit := _exceeded(b"".join(unescaped.split(b'"')[::2]))) is not None:
        raise _refused(limit)


def _exceeded(data: bytes | bytearray) -> str | None:
    if len(data) < MAX_CONTAINERS:
        return None
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        return f"{MAX_CONTAINERS} objects and lists"
    if data.count(b",") >= MAX_VALUES:
        return f"{MAX_VALUES} values"
    return f"{MAX_STRINGS} strings" if data.count(b'"') > 2 * MAX_STRINGS else None


def _refused(limit: str) -> ServingError:
    return ServingError(Reason.INVALID_ARGUMENT, f"The body has more than {limit}, the limit here. Send less.")
