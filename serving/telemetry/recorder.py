"""Recorder: where measurements go."""

from typing import Any, Protocol

from serving.telemetry.metrics import Metric


class Recorder(Protocol):
    """Takes measurements."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds to a counter, sets a gauge, or observes a value of a histogram.

        Args:
          metric: one of `serving.telemetry.metrics`.
          value: in the unit of its name; a counter's is what came since the last call.
          labels: one value for each of its labels.
        """
        ...


class RayRecorder:
    """Hands measurements to Ray, whose agent on each node exports them to Prometheus."""

    def __init__(self) -> None:
        self._by_name: dict[str, Any] = {}

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """As `Recorder.record`."""
        ray_metric = self._by_name.get(metric.name)
        if ray_metric is None:
            ray_metric = self._by_name[metric.name] = _make(metric)
        match metric.kind:
            case "counter":
                # Not `inc`, which refuses 0: a counter that begins with 1 hides its first increase from Prometheus.
                ray_metric._record(value, labels)
            case "gauge":
                ray_metric.set(value, tags=labels)
            case "histogram":
                ray_metric.observe(value, tags=labels)


def _make(metric: Metric) -> Any:
    from ray.util import metrics

    match metric.kind:
        case "counter":
            return metrics.Counter(metric.name, metric.help, metric.labels)
        case "gauge":
            return metrics.Gauge(metric.name, metric.help, metric.labels)
        case "histogram":
            return metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)


class NoRecorder:
    """Forgets everything."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """As `Recorder.record`."""
