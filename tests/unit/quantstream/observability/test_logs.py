"""Logs: a traceback is never lost, and a JSON record is one line whatever it carries."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys

import pytest

from quantstream.observability.logs import JsonFormatter, TextFormatter


def record(message: str = "it failed", **extra: object) -> logging.LogRecord:
    try:
        raise KeyError("leaf\nof a tree")
    except KeyError:
        made = logging.makeLogRecord({"name": "x", "levelname": "ERROR", "msg": message, "exc_info": sys.exc_info()})
    vars(made).update(extra)
    return made


def test_text_ends_with_the_traceback() -> None:
    lines = TextFormatter().format(record(symbol="BTCUSDT")).splitlines()
    assert lines[0].endswith("error   it failed  symbol=BTCUSDT")
    assert lines[1] == "    Traceback (most recent call last):"
    assert "KeyError" in lines[-1]
    assert all(line.startswith("    ") for line in lines[1:])


def test_json_is_one_line_with_the_traceback_in_it() -> None:
    line = JsonFormatter("score").format(record("it\nfailed", why="a\nb"))
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["why"]) == ("it\nfailed", "a\nb")
    assert found["traceback"].startswith("Traceback (most recent call last):")


def test_a_record_without_an_error_has_no_traceback() -> None:
    plain = logging.makeLogRecord({"msg": "fine", "levelname": "INFO", "exc_info": (None, None, None)})
    assert "traceback" not in json.loads(JsonFormatter("score").format(plain))
    assert "\n" not in TextFormatter().format(plain)


def test_what_came_from_outside_forges_no_record() -> None:
    forged = record("evil\n12:00:00 info    all is well", level="info", stage="other", at="never")
    found = json.loads(JsonFormatter("score").format(forged))
    assert (found["level"], found["stage"]) == ("error", "score")
    assert TextFormatter().format(forged).splitlines()[0].count("info") >= 1
    assert "all is well" in TextFormatter().format(forged).splitlines()[0]


@pytest.mark.parametrize("odd", [math.nan, math.inf, {1: 2, ("a",): 3}, b"\xff", "\ud800"])
def test_odd_extras_are_still_json(odd: object) -> None:
    line = JsonFormatter("score").format(record(odd=odd))
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name))["odd"] is not None


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    "where", ["{}", "import threading; t = threading.Thread(target=lambda: {}); t.start(); t.join()"]
)
def test_what_nobody_caught_is_a_record_too(log_format: str, where: str) -> None:
    code = (
        f"from quantstream.observability.logs import set_up_logs; set_up_logs('sink', {log_format!r}); "
        + where.format("1 / 0")
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stderr == ""
    if log_format == "json":
        (line,) = run.stdout.splitlines()
        found = json.loads(line)
        assert (found["level"], found["stage"]) == ("critical", "sink")
        assert "ZeroDivisionError" in found["traceback"]
    else:
        assert "nobody foresaw this: ZeroDivisionError" in run.stdout.splitlines()[0]
        assert "Traceback" in run.stdout
