"""Spans reach a collector by OTLP: the real exporter, and a receiver on loopback."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROGRAM = """
from serving.telemetry.tracing import past_span, request_span, traceparent_of
with request_span("fim", "00-0123456789abcdef0123456789abcdef-00000000000000aa-01", {"x": 1}) as span:
    past_span("queue", traceparent_of(span), 10.0, 12.5, {})
"""


def test_spans_reach_a_collector() -> None:
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, check=True, timeout=120
        )
        server.shutdown()
        thread.join()
    spans = {
        span.name: span
        for request in received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert set(spans) == {"fim", "queue"}
    assert {span.trace_id.hex() for span in spans.values()} == {"0123456789abcdef0123456789abcdef"}
    assert spans["fim"].parent_span_id.hex() == "00000000000000aa"
    assert spans["queue"].parent_span_id == spans["fim"].span_id
    assert spans["queue"].end_time_unix_nano - spans["queue"].start_time_unix_nano == 2_500_000_000
