"""Stream names, and the requests a client sends over its WebSocket, with the exchange's acknowledgements and errors.

Shapes: github.com/binance/binance-spot-api-docs, web-socket-streams.md; errors come wrapped in `error`, with the request's id.
"""

from __future__ import annotations

import json
import re
from typing import Any

from streaming.exchange.streams.stream_names import Kind, why_not_offered

MAX_STREAMS = 1024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_NAME = re.compile(r"^(![A-Za-z]+|[^@/\s]{1,50}@[A-Za-z0-9_]+(@[A-Za-z0-9+:]+)?)$")


class Subscriptions:
    """What one connection listens to, in the order of subscription, and whether its events come wrapped (`combined`)."""

    def __init__(self, names: list[str], combined: bool, kind: Kind = "spot") -> None:
        self._kind = kind
        self.names: dict[str, None] = dict.fromkeys(names)
        self.combined = combined

    def answer(self, raw: str) -> str:
        """Carry out one request and return the reply."""
        try:
            request = json.loads(raw)
        except json.JSONDecodeError as error:
            return _error(3, f"Invalid JSON: expected value at line {error.lineno} column {error.colno}", None)
        except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
            return _error(3, "Invalid JSON: number out of range or recursion limit exceeded", None)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: invalid type, expected struct Request at line 1 column 0", None)
        number = request.get("id")
        if not _is_id(request):
            return _error(2, "Invalid request: request ID must be an unsigned integer", None)
        try:
            result = self._carry_out(request, len(raw))
        except _Wrong as wrong:
            return _error(wrong.code, str(wrong), number)
        return _encoded({"result": result, "id": number})

    def _carry_out(self, request: dict[str, Any], length: int) -> Any:
        if "method" not in request:
            raise _Wrong(2, f"Invalid request: missing field `method` at line 1 column {length}")
        method, params = request["method"], request.get("params", [])
        if method not in METHODS:
            offered = ", ".join(f"`{name}`" for name in METHODS)
            raise _Wrong(
                2, f"Invalid request: unknown variant `{method}`, expected one of {offered} at line 1 column {length}"
            )
        if not isinstance(params, list):
            raise _Wrong(2, f"Invalid request: invalid type, expected a sequence at line 1 column {length}")
        if method == "LIST_SUBSCRIPTIONS":
            if params:
                raise _Wrong(2, "Invalid request: too many parameters")
            return list(self.names)
        if method.endswith("PROPERTY"):
            return self._property(method, params)
        return self._subscribe(params) if method == "SUBSCRIBE" else self._unsubscribe(params)

    def _subscribe(self, params: list[Any]) -> None:
        if not params:
            raise _Wrong(2, "Invalid request: empty parameters")
        _check_names(params)
        for name in params:
            if reason := why_not_offered(name, self._kind):
                raise _Wrong(2, f"Invalid request: {reason}")
        names = {**self.names, **dict.fromkeys(params)}
        if len(names) > MAX_STREAMS:
            raise _Wrong(2, f"Invalid request: a connection may listen to at most {MAX_STREAMS} streams")
        self.names = names

    def _unsubscribe(self, params: list[Any]) -> None:
        _check_names(params)
        for name in params:
            self.names.pop(name, None)

    def _property(self, method: str, params: list[Any]) -> Any:
        if not params or not isinstance(params[0], str):
            raise _Wrong(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise _Wrong(0, "Unknown property")
        if len(params) > (2 if method == "SET_PROPERTY" else 1):
            raise _Wrong(2, "Invalid request: too many parameters")
        if method == "GET_PROPERTY":
            return self.combined
        if len(params) < 2 or not isinstance(params[1], bool):
            raise _Wrong(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None


class _Wrong(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _check_names(params: list[Any]) -> None:
    if not all(isinstance(name, str) and _NAME.match(name) for name in params):
        raise _Wrong(2, "Invalid request: invalid stream")


def _is_id(request: dict[str, Any]) -> bool:
    """Ids: an integer of 64 bits, a string of up to 36 letters and digits, or null; the field itself must be there."""
    if "id" not in request:
        return False
    number = request["id"]
    if isinstance(number, str):
        return len(number) <= 36 and number.replace("-", "").isalnum()
    return number is None or (isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63)


def _error(code: int, message: str, number: Any) -> str:
    return _encoded({"error": {"code": code, "msg": message}, "id": number})


def _encoded(reply: dict[str, Any]) -> str:
    return json.dumps(reply, separators=(",", ":"))  # escapes the lone surrogates that a client may have sent
