"""Waiting: latency and speed of requests that share a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, sqrt

from serving.autoscaling.pace import Pace
from serving.config import Role

_P95 = log(20)
"""An exponential time exceeds this multiple of its mean in 5 of 100 cases."""
_P95_OF_NORMAL = 1.645


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The requests of one role that come to one group.

    Attributes:
      per_s: requests a second.
      prompt: tokens of a prompt that are computed.
      generated: tokens of an answer.
    """

    role: Role
    per_s: float
    prompt: float
    generated: float


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What 95 of 100 requests get at least.

    Attributes:
      rows: that decode at a time, on average.
      first_token_s: by role.
      tokens_per_s: of an answer, by role.
    """

    rows: float
    first_token_s: dict[Role, float]
    tokens_per_s: dict[Role, float]

    @classmethod
    def of(cls, flows: Sequence[Flow], pace: Pace, most_rows: int) -> "Waiting":
        """The service for random arrivals and exponentially distributed token counts.

        In a second prompts take sum(per_s x prompt x prompt_token_s). In what is left, steps of n rows give
        n / (step_s + n row_s) tokens a second, which is per_s x generated: hence n.

        First token: a prompt's time, in steps beside these n rows, is exponential like its length, so prompts are a
        queue M/M/1, by role, the first before the others (Kleinrock, Queueing Systems): with load u of those before and
        U of its own as well, it takes on average T / ((1 - u) (1 - U)) from arrival to end. The step that runs comes
        before that. A request that finds all rows taken waits for an answer to end, so of 100 at most 5 may: rows that
        are taken are Poisson, like arrivals.

        Answer: its tokens take a step each, beside as many rows as 95 of 100 find at most; the prompts that come
        meanwhile are a sum of a Poisson number of exponential times, whose variance is twice that number times their
        mean's square.

        Args:
          flows: the most urgent role first.
          pace: of the group.
          most_rows: requests that have a row at the same time.
        """
        prompts_s = sum(flow.per_s * flow.prompt for flow in flows) * pace.prompt_token_s
        draws = sum(flow.per_s * flow.generated for flow in flows)
        left = 1 - prompts_s - draws * pace.row_s
        rows = draws * pace.step_s / left if left > 0 else inf
        if _p95_of_poisson(rows) > most_rows:
            roles = [flow.role for flow in flows]
            return cls(rows=rows, first_token_s=dict.fromkeys(roles, inf), tokens_per_s=dict.fromkeys(roles, 0.0))
        crowded_s = pace.decode_s(max(1.0, _p95_of_poisson(rows)))
        spread = sum(flow.per_s * 2 * (flow.prompt * pace.prompt_token_s) ** 2 for flow in flows)
        first_s, tokens_per_s = {}, {}
        before = 0.0
        for index, flow in enumerate(flows):
            took_s = pace.prompt_s(flow.prompt, rows)
            upto = before + flow.per_s * took_s
            running_s = pace.decode_s(rows)
            if index + 1 < len(flows):  # it may compute a prompt of a role that comes later
                running_s += pace.step_tokens * pace.prompt_token_s
            waits = inf if upto >= 1 else took_s / ((1 - before) * (1 - upto))
            first_s[flow.role] = running_s + _P95 * waits
            before = upto
            answer_s = flow.generated * crowded_s
            whole_s = answer_s / (1 - prompts_s)
            beside_s = whole_s * prompts_s + _P95_OF_NORMAL * sqrt(whole_s * spread)
            tokens_per_s[flow.role] = flow.generated / (answer_s + beside_s)
        return cls(rows=rows, first_token_s=first_s, tokens_per_s=tokens_per_s)


def _p95_of_poisson(mean: float) -> float:
    return mean + _P95_OF_NORMAL * sqrt(mean)
