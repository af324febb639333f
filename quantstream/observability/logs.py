"""Logs as events: JSON lines on stdout in pods, readable lines on a terminal.

A JSON record is one line whatever it carries, and what nobody caught is a record too, with its traceback.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, stage, message, and whatever `extra` carried."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {
            "at": at,
            "level": record.levelname.lower(),
            "stage": self.stage,
            "message": record.getMessage(),
        }
        fields = {**fields, **_extra(record), **fields}  # an extra of the same name does not forge ours
        if text := _traceback(self, record):
            fields["traceback"] = text
        try:
            return json.dumps(fields, default=str, allow_nan=False)
        except (ValueError, TypeError):  # a number that JSON does not have, or a key that is no text
            return json.dumps({str(name): value if name == "at" else str(value) for name, value in fields.items()})


class TextFormatter(logging.Formatter):
    """Time, level, message, then `key=value` for each extra; a traceback below, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines where there is a traceback."""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extra = " ".join(f"{key}={_one_line(value)}" for key, value in _extra(record).items())
        text = _traceback(self, record)
        return (
            f"{at} {record.levelname.lower():7} {_one_line(record.getMessage())}"
            + (f"  {extra}" if extra else "")
            + "".join(f"\n    {line}" for line in text.splitlines())
        )


def _one_line(value: object) -> str:
    """Escape text from outside, so that it cannot look like a record of its own."""
    return str(value).replace("\r", "\\r").replace("\n", "\\n")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.exc_text and not parts:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def set_up_logs(stage: str, log_format: Literal["json", "text", "auto"] = "auto") -> None:
    """Send this process's logs to stdout, and what nobody catches too; `auto` is text on a terminal, JSON elsewhere."""
    handler = logging.StreamHandler(sys.stdout)
    as_text = log_format == "text" or (log_format == "auto" and sys.stdout.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter(stage))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    error = error or kind()
    log.critical(f"nobody foresaw this: {kind.__name__}: {error}", exc_info=(kind, error, trace))
