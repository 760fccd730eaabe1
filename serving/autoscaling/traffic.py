"""Office traffic: developers who type in bursts, from the morning's first to the evening's last."""

import random
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

DAY_S = 24 * 3600.0

_ACTIVE_BY_HOUR = (
    (0.0, 0.01),
    (6.5, 0.01),
    (8.0, 0.25),
    (9.0, 0.75),
    (10.5, 1.0),
    (11.8, 0.85),
    (12.5, 0.35),
    (13.5, 0.75),
    (15.0, 0.95),
    (17.0, 0.7),
    (18.5, 0.2),
    (20.0, 0.05),
    (22.0, 0.01),
    (24.0, 0.01),
)
"""Part of the developers at work, linear in between: a peak in the morning, a dip at noon. Assumed, not measured."""
_PAUSE_IN_BURST_S = 2.0


class Request(NamedTuple):
    """One request: when it arrives, in seconds since midnight, and its tokens.

    Attributes:
      generated: tokens of its answer.
      prompt: those of its tokens that are not cached.
      is_urgent: a completion beside chat: it is computed first.
    """

    arrival_s: float
    generated: float
    prompt: float = 0.0
    is_urgent: bool = False


def active_part(time_s: float) -> float:
    """Part of the developers who are at work, 0 to 1, at a time in seconds since midnight, before the next."""
    hour = time_s / 3600
    index = bisect_right(_ACTIVE_BY_HOUR, hour, key=itemgetter(0)) - 1
    (left, low), (right, high) = _ACTIVE_BY_HOUR[index : index + 2]
    return low + (high - low) * (hour - left) / (right - left)


@dataclass(frozen=True, kw_only=True)
class OfficeDay:
    """A day of requests, or some hours of it.

    Bursts of typing are a Poisson process that follows the number of developers at work. A burst has a geometric number
    of requests, with exponential pauses of two seconds on average; prompts and answers are of exponential length.

    Attributes:
      users: developers, all of them at work at the peak.
      requests_per_hour: of one developer at work, on average.
      generated: tokens of an answer, on average.
      prompt: tokens of a prompt that are not cached, on average.
      is_urgent: of all requests: see `Request`.
      burst: requests of a burst, on average; 1 for chat, where people read between two requests.
      start_s, end_s: seconds since midnight between which they arrive.
    """

    users: int
    requests_per_hour: float
    generated: float
    prompt: float = 0.0
    is_urgent: bool = False
    burst: float = 6.0
    start_s: float = 0.0
    end_s: float = DAY_S
    seed: int

    def requests(self) -> list[Request]:
        """In order of arrival; the same for the same attributes."""
        rng = random.Random(self.seed)
        bursts_per_s = self.users * self.requests_per_hour / self.burst / 3600
        requests: list[Request] = []
        start = self.start_s + rng.expovariate(bursts_per_s)
        while start < self.end_s:
            if rng.random() < active_part(start):  # thinning: at the peak's rate, then dropped to the hour's
                arrival = start
                while arrival < self.end_s:
                    requests.append(self._request(arrival, rng))
                    if rng.random() < 1 / self.burst:
                        break
                    arrival += rng.expovariate(1 / _PAUSE_IN_BURST_S)
            start += rng.expovariate(bursts_per_s)
        requests.sort()
        return requests

    def _request(self, arrival_s: float, rng: random.Random) -> Request:
        prompt = self.prompt * rng.expovariate(1.0) if self.prompt else 0.0
        return Request(arrival_s, self.generated * rng.expovariate(1.0), prompt, self.is_urgent)
