"""read_body: the body of a request, within limits of size and time."""

import asyncio

from starlette.requests import Request

from serving.errors import Reason, ServingError


async def read_body(request: Request, max_bytes: int, within_s: float) -> bytearray:
    """The whole body.

    Raises:
      ServingError: BODY_TOO_LARGE, as soon as that is known; REQUEST_TIMEOUT.
    """
    length = request.headers.get("content-length", "")
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            if not length.isdecimal() or int(length) <= max_bytes:
                async for part in request.stream():
                    body += part
                    if len(body) > max_bytes:
                        break
                else:
                    return body
    except TimeoutError:
        raise ServingError(
            Reason.REQUEST_TIMEOUT,
            f"Of the body {len(body)} bytes came in {within_s:g} s, the limit here, and not its end. Send it at once.",
        ) from None
    raise ServingError(
        Reason.BODY_TOO_LARGE, f"The body is longer than {max_bytes} bytes, the limit here. Send less context."
    )
