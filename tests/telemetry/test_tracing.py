"""Tracing, as the environment of a process sets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from serving.telemetry.tracing import request_span, traceparent_of

SAMPLED = "00-0123456789abcdef0123456789abcdef-00000000000000aa-01"


def process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process with this environment, which is read once."""
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )


def test_without_an_exporter_no_request_is_traced_whatever_the_client_says() -> None:
    with request_span("fim", SAMPLED, {}) as span:
        assert traceparent_of(span) == ""


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    result = process(
        "from serving.telemetry.tracing import start_tracing; start_tracing()", CODEGEMMA_TRACE_FILE=str(tmp_path)
    )
    assert f"ValueError: CODEGEMMA_TRACE_FILE={tmp_path}: Is a directory. Name a file" in result.stderr


def test_a_missing_package_is_told_at_the_start() -> None:
    program = """
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None
from serving.telemetry.tracing import start_tracing
start_tracing()
"""
    result = process(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert "pip install codegemma-serving[tracing]" in result.stderr.splitlines()[-1]


def test_what_is_flushed_is_written_even_if_the_process_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, signal
from serving.telemetry.tracing import flush_tracing, request_span
with request_span("fim", "{SAMPLED}", {{}}):
    pass
flush_tracing()
os.kill(os.getpid(), signal.SIGKILL)
"""
    file = tmp_path / "spans"
    process(program, CODEGEMMA_TRACE_FILE=str(file))
    [span] = map(json.loads, file.read_text().splitlines())
    assert span["name"] == "fim"
