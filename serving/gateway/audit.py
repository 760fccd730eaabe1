"""AuditLog: who asked for an answer, when, how much it was and how it ended; nothing of what was asked or answered."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, WatchedFileHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, Protocol

import msgspec

from serving.errors import WIRE_ERRORS, Reason
from serving.gateway.access import Caller
from serving.gateway.call_metadata import CallMetadata
from serving.gateway.feedback.feedback import CompletionEvent
from serving.gateway.request import CodeRequest

_log = logging.getLogger("ray.serve.audit")  # below Ray Serve's logger, whose handlers write the log


class Audit(Protocol):
    """Takes note of requests."""

    def request(self, request: CodeRequest, model: str, prompt_tokens: int, tokens: int, outcome: str) -> None:
        """Records a request that has ended.

        Args:
          request: the request.
          model: the id of the model that it was routed to; empty if it was refused before.
          prompt_tokens: of a complete answer; 0 otherwise.
          tokens: generated for it.
          outcome: `ok`, `cancelled`, or an error's reason.
        """
        ...

    def event(
        self, caller: Caller, metadata: CallMetadata, completion_id: str, model: str, event: CompletionEvent
    ) -> None:
        """Records what a caller reported of a completion of a model."""
        ...


class NoAudit:
    """Takes note of nothing."""

    def request(self, request: CodeRequest, model: str, prompt_tokens: int, tokens: int, outcome: str) -> None:
        """As `Audit.request`."""

    def event(
        self, caller: Caller, metadata: CallMetadata, completion_id: str, model: str, event: CompletionEvent
    ) -> None:
        """As `Audit.event`."""


class AuditLog:
    """Writes a line of JSON for each request, in a thread: no request waits for a disk."""

    def __init__(self, target: Path | Literal["log"]) -> None:
        """Opens the file, and a new one after a tool has moved it away.

        Raises:
          ValueError: it cannot be written.
        """
        self._write = _log
        if target != "log":
            try:
                file = WatchedFileHandler(target, encoding="utf-8")
            except OSError as error:
                raise ValueError(
                    f"gateway.audit_log is {str(target)!r}, which cannot be written: {error.strerror}. Make its "
                    "directory, or name another file."
                ) from None
            lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
            self._write = logging.Logger("audit", logging.INFO)
            self._write.addHandler(QueueHandler(lines))
            self._listener = QueueListener(lines, file)
            self._listener.start()

    def request(self, request: CodeRequest, model: str, prompt_tokens: int, tokens: int, outcome: str) -> None:
        """As `Audit.request`."""
        self._line(
            {
                "request_id": request.request_id,
                "tenant": request.tenant,
                "key": request.key,
                "route": request.route,
                "model": model,
                "prompt_tokens": prompt_tokens,
                "completion_tokens": tokens,
                "outcome": outcome,
                "status": _status(outcome, request.protocol),
            }
        )

    def event(
        self, caller: Caller, metadata: CallMetadata, completion_id: str, model: str, event: CompletionEvent
    ) -> None:
        """As `Audit.event`."""
        self._line(
            {
                "request_id": metadata.request_id,
                "tenant": caller.tenant,
                "key": caller.key,
                "route": metadata.route,
                "model": model,
                "completion_id": completion_id,
                "event": event,
            }
        )

    def _line(self, content: Mapping[str, object]) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **content}
        self._write.info("%s", msgspec.json.encode(line).decode())

    def close(self) -> None:
        """Writes what is not written yet, and closes the file."""
        if self._write is not _log:
            self._listener.stop()
            for handler in self._listener.handlers:
                handler.close()


def audit_for(target: Path | Literal["log"] | None) -> Audit:
    """The audit log of the configuration.

    Raises:
      ValueError: the file cannot be written.
    """
    return NoAudit() if target is None else AuditLog(target)


def _status(outcome: str, protocol: str) -> int | str:
    """The status that the client got: HTTP's, 499 for one that went away, or gRPC's code."""
    if outcome in tuple(Reason):
        wire = WIRE_ERRORS[Reason(outcome)]
        return wire.http_status if protocol == "http" else wire.grpc_code.name
    if protocol == "http":
        return 200 if outcome == "ok" else 499
    return "OK" if outcome == "ok" else "CANCELLED"
