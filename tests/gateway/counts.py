"""Counts: the metrics that a part of the Gateway records."""

from serving.telemetry.metrics import Metric


class Counts:
    """A `Recorder` that keeps what it was told."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Metric, dict[str, str]]] = []

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        if value:
            self.recorded.append((metric, labels))
