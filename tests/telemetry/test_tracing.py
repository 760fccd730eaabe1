"""Tracing where no exporter is set."""

from serving.telemetry.tracing import request_span, traceparent_of


def test_without_an_exporter_nobody_is_followed_whatever_the_client_says() -> None:
    sampled = "00-0123456789abcdef0123456789abcdef-00000000000000aa-01"
    with request_span("fim", sampled, {}) as span:
        assert traceparent_of(span) == ""
