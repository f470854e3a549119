"""Logs as lines of JSON, named after the OpenTelemetry conventions."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

from opentelemetry import trace

from services.runtime.observability import error_format, metrics, outages

# gRPC logs here, with a stack, what it could not do.
_LOGGERS_OF_GRPC = ("grpc._cython.cygrpc", "asyncio")
_NOT_SENT = "ExecuteBatchError"
# asyncio warns of each TLS connection that the server closes, since the NATS client answers as it would
# without TLS. The connection is closed correctly.
_TLS_ENDED = "eof_received() has no effect when using ssl"
# Statuses that are a server's fault.
FAULT_STATUSES = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the trace that the line belongs to."""

    _STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = f"{span.trace_id:032x}"
            line["span_id"] = f"{span.span_id:016x}"
        line.update({k: v for k, v in record.__dict__.items() if k not in self._STANDARD})
        if record.exc_info and record.exc_info[1]:
            line["exception"] = error_format.whole(record.exc_info[1])
        # In ASCII, so that no control sequence reaches the terminal of a reader.
        return json.dumps(line, default=str)


def start_logging(service: str, stream: TextIO) -> None:
    """Send all logs to a stream as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(service))
    handler.addFilter(outages.is_news)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in _LOGGERS_OF_GRPC:
        logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of gRPC or asyncio needs an operator.

    A caller that disconnected before its answer does not, nor a header that is no UTF-8: callers could
    fill the log with both, and gRPC logs the header, which may be a token.
    """
    error = record.exc_info[1] if record.exc_info else None
    kind = type(error).__name__
    if kind == _NOT_SENT:
        metrics.ANSWERS_NOT_SENT.add(1)
        return False
    if record.name == "asyncio":
        return _TLS_ENDED not in record.getMessage()
    return kind != UnicodeDecodeError.__name__


def set_level(level: str) -> None:
    """Log from this level on."""
    logging.getLogger().setLevel(level)
