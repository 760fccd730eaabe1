"""The tokenizer, and a backend that generates a line."""

from tests.gateway.conftest import _log_reaches_caplog, backend, codegemma

__all__ = ["_log_reaches_caplog", "backend", "codegemma"]
