"""HttpTimes: how long the HTTP side waits, and for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTimes:
    """All in seconds.

    Attributes:
      body_s: for all of a body. 30 are enough for 4 MiB, the limit by default, at 1.1 Mbit/s. HAProxy waits longer
        (`serving/servers/ray_environment.py`).
      unread_body_s: for what is left of a body when its request has been answered.
      headers_s: with the status and headers of a stream. What fails sooner has the status of its error.
      sign_of_life_s: from then on, until the first piece: proxies in between end connections that say nothing.
    """

    body_s: float = 30.0
    unread_body_s: float = 10.0
    headers_s: float = 1.0
    sign_of_life_s: float = 5.0


TIMES = HttpTimes()
