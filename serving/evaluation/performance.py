"""Performance: how fast a run was answered, from what the service said of each answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.evaluation.run_directory import Result
from serving.quantile import quantile


@dataclass(frozen=True)
class Performance:
    """Figures of all answers of a run.

    Attributes:
      seconds: in which at least one answer was being waited for.
      latency_p50_s, latency_p95_s: of whole answers.
    """

    answers: int
    seconds: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    latency_p50_s: float | None
    latency_p95_s: float | None

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Performance":
        """Adds up results, also of a run that was interrupted."""
        results = [each for each in results if each.answered]
        latencies = sorted(each.seconds for each in results)
        return cls(
            answers=len(results),
            seconds=_union([(each.started, each.started + each.seconds) for each in results]),
            prompt_tokens=sum(each.prompt_tokens for each in results),
            cached_tokens=sum(each.cached_tokens for each in results),
            completion_tokens=sum(each.completion_tokens for each in results),
            latency_p50_s=quantile(latencies, 0.5),
            latency_p95_s=quantile(latencies, 0.95),
        )

    def rows(self) -> list[tuple[str, str]]:
        """Each figure's name and text."""
        rate = self.completion_tokens / self.seconds if self.seconds else 0.0
        cached = self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0
        return [
            ("answers", f"{self.answers:,}"),
            ("time in which answers were waited for", f"{self.seconds:.0f} s"),
            ("tokens generated", f"{self.completion_tokens:,}"),
            ("tokens generated a second", f"{rate:.1f}"),
            ("prompt tokens", f"{self.prompt_tokens:,}"),
            ("prompt tokens from the prefix cache", f"{cached:.1%}"),
            ("an answer, p50", _seconds(self.latency_p50_s)),
            ("an answer, p95", _seconds(self.latency_p95_s)),
        ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _union(spans: list[tuple[float, float]]) -> float:
    """The length of what the spans cover."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total
