"""Scrape: the metrics of a running service at one moment, summed over its processes and nodes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from serving.telemetry.metrics import Metric


@dataclass(frozen=True)
class Scrape:
    """What was read.

    Attributes:
      at: when, in seconds of any clock.
      samples: by exported name: labels and value of each.
    """

    at: float
    samples: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]

    @classmethod
    def parse(cls, texts: Iterable[str], at: float) -> "Scrape":
        """Reads what nodes export, in Prometheus' text format.

        Raises:
          ValueError: it is something else.
        """
        samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return cls(at, samples)

    def values(self, name: str, **labels: str) -> list[float]:
        """The values under an exported name that have these labels."""
        return [value for found, value in self.samples.get(name, ()) if labels.items() <= found.items()]

    def total(self, metric: Metric, **labels: str) -> float:
        """The sum of a counter or gauge."""
        return sum(self.values(metric.exported[0], **labels))

    def most(self, metric: Metric, **labels: str) -> float:
        """The largest value of a gauge; 0 without any."""
        return max(self.values(metric.exported[0], **labels), default=0.0)

    def names(self, metric: Metric, label: str) -> set[str]:
        """The values that a label has."""
        return {found[label] for found, _ in self.samples.get(metric.exported[0], ()) if label in found}

    def buckets(self, metric: Metric, **labels: str) -> dict[float, float]:
        """How many observations of a histogram are at most each bound."""
        counts: dict[float, float] = {}
        for found, value in self.samples.get(metric.exported[0], ()):
            if labels.items() <= found.items():
                bound = float(found["le"])
                counts[bound] = counts.get(bound, 0.0) + value
        return dict(sorted(counts.items()))


@dataclass(frozen=True)
class Window:
    """What happened between two scrapes."""

    before: Scrape
    now: Scrape

    def rate(self, metric: Metric, **labels: str) -> float:
        """How much a counter grew in a second; a process that is gone since does not make it negative."""
        seconds = self.now.at - self.before.at
        grown = self.now.total(metric, **labels) - self.before.total(metric, **labels)
        return max(grown, 0.0) / seconds if seconds > 0 else 0.0

    def quantile(self, metric: Metric, q: float, **labels: str) -> float | None:
        """Estimates a quantile of what a histogram observed, as Prometheus' `histogram_quantile` does.

        Args:
          metric: the histogram.
          q: 0 to 1.
          labels: which observations.

        Returns:
          The value, the last finite bound if it is beyond that, or None when nothing was observed.
        """
        before, now = self.before.buckets(metric, **labels), self.now.buckets(metric, **labels)
        counts = [(bound, max(count - before.get(bound, 0.0), 0.0)) for bound, count in now.items()]
        total = counts[-1][1] if counts else 0.0
        if total <= 0:
            return None
        rank = q * total
        lower, below = 0.0, 0.0
        for bound, count in counts:
            if count >= rank:
                if bound == float("inf"):
                    return lower
                return lower + (bound - lower) * (rank - below) / (count - below) if count > below else bound
            lower, below = bound, count
        return lower
