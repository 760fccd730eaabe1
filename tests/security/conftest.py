"""The tokenizer, a backend that generates a line, and HAProxy."""

from tests.gateway.conftest import _log_reaches_caplog, backend, codegemma
from tests.haproxy.conftest import haproxy, servers, short_timeouts

__all__ = ["_log_reaches_caplog", "backend", "codegemma", "haproxy", "servers", "short_timeouts"]
