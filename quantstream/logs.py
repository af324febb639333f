"""Logs as events: JSON lines on stdout in pods, readable lines on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


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
        fields.update(_extra(record))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, message, then `key=value` for each extra."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extra = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        return f"{at} {record.levelname.lower():7} {record.getMessage()}" + (f"  {extra}" if extra else "")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def set_up_logs(stage: str, log_format: Literal["json", "text", "auto"] = "auto") -> None:
    """Send this process's logs to stdout; `auto` is text on a terminal, JSON elsewhere."""
    handler = logging.StreamHandler(sys.stdout)
    as_text = log_format == "text" or (log_format == "auto" and sys.stdout.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter(stage))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
