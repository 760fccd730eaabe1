"""The tokenizer, a backend that generates a line, and HAProxy."""

from tests.gateway.conftest import _log_reaches_caplog, backend, codegemma
from tests.haproxy.conftest import haproxy, short_timeouts, servers

__all__ = ["_log_reaches_caplog", "backend", "codegemma", "haproxy", "short_timeouts", "servers"]
