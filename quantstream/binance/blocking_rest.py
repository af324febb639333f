"""Polite GET requests to the exchange's keyless REST API: weights and Retry-After obeyed, failures retried with jitter."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from quantstream.core.errors import Misconfigured, Unavailable

log = logging.getLogger(__name__)
TRIES = 6
TIMEOUT = 20.0  # seconds for one answer
FIRST_PAUSE = 0.5  # seconds; doubles with each failure: 16 s in all
LONGEST_WAIT = 120.0  # seconds of Retry-After worth sleeping; a ban lasts longer and is somebody else's to wait for
WEIGHT_LIMIT = 1200  # per minute, the least that any of the exchange's hosts allows (binance.us; binance.com 6,000)
BUSY_SHARE = 0.8  # of the weight: from here on leave room for the live path, which repairs gaps over the same address
BUSY_PAUSE = 5.0  # seconds
MOST_BYTES = 64 << 20  # of an answer; the largest there is, exchangeInfo of all symbols, has about 20 MB
UNKNOWN_SYMBOL = -1121  # the exchange's error code


class Rest:
    """One base address. `sleep` and `rng` are arguments, so that a test waits for nothing."""

    def __init__(
        self,
        address: str,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        tries: int = TRIES,
    ) -> None:
        self.tries = tries
        self.address = address.rstrip("/")
        self._sleep = sleep
        self._rng = rng or random.Random()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer of one GET.

        Raises: Unavailable after the last try or for a long ban, Misconfigured for a refusal that trying again won't mend.
        """
        url = f"{self.address}{path}" + (f"?{urlencode(query)}" if query else "")
        failure = ""
        for attempt in range(self.tries):
            try:
                return self._once(url)
            except HTTPError as error:
                failure, wait = self._refused(error, path, query or {}, attempt)
            except (HTTPException, OSError, ValueError, RecursionError) as error:  # URLError and timeouts are OSErrors
                failure, wait = f"{type(error).__name__}: {error}", self._pause(attempt)
            if attempt < self.tries - 1:
                log.warning("the exchange did not answer %s (%s); trying again in %.1f s", path, failure, wait)
                self._sleep(wait)
        raise Unavailable(f"the exchange at {self.address} did not answer {path} after {self.tries} tries: {failure}")

    def _once(self, url: str) -> Any:
        with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=TIMEOUT) as answer:
            body = answer.read(MOST_BYTES + 1)
            if len(body) > MOST_BYTES:
                raise ValueError(f"the answer is larger than {MOST_BYTES} bytes")
            value = json.loads(body)
            used = answer.headers.get("X-MBX-USED-WEIGHT-1M", "0")
        if used.isdigit() and int(used) >= BUSY_SHARE * WEIGHT_LIMIT:
            self._sleep(BUSY_PAUSE)
        return value

    def _refused(self, error: HTTPError, path: str, query: Mapping[str, Any], attempt: int) -> tuple[str, float]:
        """Return why and how long to wait before the next try.

        Raises: Misconfigured, Unavailable.
        """
        code, text = _reason(error)
        if error.code in (418, 429):
            wait = _retry_after(error) or self._pause(attempt)
            if wait > LONGEST_WAIT:
                raise Unavailable(f"the exchange at {self.address} asks to stay away for {wait:.0f} s") from error
            return f"{error.code}, too many requests", wait * self._rng.uniform(1.0, 1.1)
        if error.code >= 500:
            return f"{error.code} {text}", self._pause(attempt)
        if code == UNKNOWN_SYMBOL:
            raise Misconfigured(
                f"the exchange at {self.address} knows no symbol {query.get('symbol')}; correct QUANTSTREAM_SYMBOLS"
            ) from error
        raise Misconfigured(
            f"the exchange at {self.address} refuses {path} ({error.code} {text}); if it is not served where you are, "
            "set QUANTSTREAM_ENDPOINTS__REST to another of its hosts"
        ) from error

    def _pause(self, attempt: int) -> float:
        return FIRST_PAUSE * 2.0**attempt * self._rng.uniform(0.5, 1.5)


def _retry_after(error: HTTPError) -> float:
    text = str(error.headers.get("Retry-After", ""))
    return float(text) if text.isdigit() else 0.0


def _reason(error: HTTPError) -> tuple[int, str]:
    """Return the exchange's own error code and text."""
    try:
        body = json.loads(error.read(MOST_BYTES))
        return int(body["code"]), str(body["msg"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, OSError, HTTPException):
        return 0, str(error.reason)
