"""The simulated exchange as the judge and the troublemaker meet it: its own trades and klines, and its control endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PAGE = 1000  # rows of one answer
TRIES = 20
MICROS, IN_MICROS = {"X-MBX-TIME-UNIT": "MICROSECOND"}, ("/api/v3/historicalTrades",)
Row = dict[str, Any]


class Exchange:
    """REST without any code of the platform's, so that the judge cannot share its mistakes."""

    def __init__(self, base: str) -> None:
        self.base = base

    def time(self) -> int:
        """Return its clock, ms."""
        return int(self._get("/api/v3/time")["serverTime"])

    def trades(self, symbol: str, first_id: int, before: int) -> Iterator[Row]:
        """Yield the trades from an id on that traded before a time (ms); `micros` is the time of each in µs."""
        while rows := self._get("/api/v3/historicalTrades", symbol=symbol, fromId=first_id, limit=PAGE):
            for row in rows:
                row["micros"], row["time"] = row["time"], row["time"] // 1000
                if row["time"] >= before:
                    return
                yield row
            first_id = rows[-1]["id"] + 1

    def klines(self, symbol: str, interval: str, start: int, before: int) -> Iterator[list[Any]]:
        """Yield the klines that open in `[start, before)` (ms)."""
        while start < before:
            rows = self._get("/api/v3/klines", symbol=symbol, interval=interval, startTime=start, limit=PAGE)
            yield from (row for row in rows if row[0] < before)
            if len(rows) < PAGE:
                return
            start = rows[-1][6] + 1

    def order(self, **fault: Any) -> None:
        """Order a fault."""
        self._send("POST", json.dumps(fault).encode())

    def withdraw(self) -> None:
        """Withdraw every order."""
        self._send("DELETE", None)

    def injected(self) -> dict[str, int]:
        """Return how often each fault happened."""
        found: dict[str, int] = self._get("/control/faults")["injected"]
        return found

    def _send(self, method: str, body: bytes | None) -> None:
        with urlopen(Request(f"{self.base}/control/faults", data=body, method=method), timeout=30) as answer:
            answer.read()

    def _get(self, path: str, **query: Any) -> Any:
        url = f"{self.base}{path}?{urlencode(query)}" if query else self.base + path
        for attempt in range(TRIES):
            try:
                with urlopen(Request(url, headers=MICROS if path in IN_MICROS else {}), timeout=30) as answer:
                    return json.loads(answer.read())
            except (HTTPError, URLError, OSError):  # its faults hit the judge as well
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.2)
        raise AssertionError("unreachable")
