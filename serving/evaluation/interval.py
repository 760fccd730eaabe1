"""Confidence intervals of means over tasks, some of which were made from one problem."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)
_FOR_SCORE = (1.0, 1.0, 0.0, 0.0)
_FOR_DIFFERENCE = (1.0, -1.0)


def score_interval(values: Iterable[tuple[str, float]]) -> tuple[float, float]:
    """Where a share of solved tasks lies, with 95% confidence.

    Agresti and Coull's interval ("Approximate is better than exact", 1998): Wald's after two more successes and two
    more failures.

    Args:
      values: the problem of each task, and 1 if it is solved, 0 if not.
    """
    low, high = _interval(values, _FOR_SCORE)
    return max(low, 0.0), min(high, 1.0)


def difference_interval(values: Iterable[tuple[str, float]]) -> tuple[float, float]:
    """Where the difference between two models' shares of the same tasks lies, with 95% confidence.

    Bonett and Price's interval ("Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", 2012): Wald's after one more task that only the first solves and one that only the second does.

    Args:
      values: the problem of each task, and 1, 0 or -1: the second's result minus the first's.
    """
    low, high = _interval(values, _FOR_DIFFERENCE)
    return max(low, -1.0), min(high, 1.0)


def _interval(values: Iterable[tuple[str, float]], added: Sequence[float]) -> tuple[float, float]:
    """Wald's interval with the added values, its variance by problem.

    Deviations are added up within each problem before they are squared (the sandwich estimator for clusters), so that
    the ten lines of one function do not count as ten functions. With one task a problem it is the usual variance.
    """
    by_problem: defaultdict[str, list[float]] = defaultdict(list)
    for problem, value in values:
        by_problem[problem].append(value)
    clusters = [*by_problem.values(), *([value] for value in added)]
    count = sum(map(len, clusters))
    mean = sum(map(sum, clusters)) / count
    half = _Z * sqrt(sum((sum(cluster) - len(cluster) * mean) ** 2 for cluster in clusters)) / count
    return mean - half, mean + half
