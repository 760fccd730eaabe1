"""MemoryRecorder: keeps measurements for a test to read."""

from collections import defaultdict

from serving.telemetry.metrics import Metric


class MemoryRecorder:
    """Implements `Recorder`, and is strict about labels as Prometheus is."""

    def __init__(self) -> None:
        self.values: defaultdict[tuple[str, frozenset[tuple[str, str]]], list[float]] = defaultdict(list)

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        assert set(labels) == set(metric.labels)
        assert all(type(label) is str for label in map(str, labels.values()))
        assert metric.kind != "counter" or value >= 0
        self.values[metric.name, frozenset((name, str(label)) for name, label in labels.items())].append(value)

    def _of(self, metric: Metric, labels: dict[str, str]) -> list[float]:
        return [
            value
            for (name, kept), values in self.values.items()
            if name == metric.name and set(labels.items()) <= kept
            for value in values
        ]

    def total(self, metric: Metric, **labels: str) -> float:
        """What a counter counted."""
        return sum(self._of(metric, labels))

    def last(self, metric: Metric, **labels: str) -> float:
        """Where a gauge stands."""
        return self._of(metric, labels)[-1]

    def observed(self, metric: Metric, **labels: str) -> list[float]:
        """What a histogram was given."""
        return self._of(metric, labels)
