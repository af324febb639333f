"""The exchange's own refusals, by its codes and words, and the reading of a request's parameters that leads to them.

Codes: github.com/binance/binance-spot-api-docs, errors.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

SYMBOL = re.compile(r"^[A-Z0-9-_.]{1,20}$")
MAX_NUMBER = 2**63 - 1


class Refused(Exception):
    """An answer that is an error: HTTP status, the exchange's code and message."""

    def __init__(self, code: int, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.headers = headers or {}

    @property
    def body(self) -> str:
        """The JSON the exchange sends."""
        return msgspec.json.encode({"code": self.code, "msg": str(self)}).decode()


INVALID_SYMBOL = (-1121, "Invalid symbol.")
INVALID_INTERVAL = (-1120, "Invalid interval.")
INVALID_COMBINATION = (-1128, "Combination of optional parameters invalid.")


class Query:
    """The parameters of one request; each is checked as it is read, and `finish` refuses those that nobody read."""

    def __init__(self, given: Mapping[str, str], listed: Collection[str]) -> None:
        self._given = given
        self._listed = listed
        self._read: set[str] = set()

    def text(self, name: str) -> str | None:
        """Return an optional parameter.

        Raises: Refused when it is there but empty.
        """
        self._read.add(name)
        if name not in self._given:
            return None
        if not self._given[name]:
            raise Refused(-1105, f"Parameter '{name}' was empty.")
        return self._given[name]

    def mandatory(self, name: str) -> str:
        """Return a parameter that must be there.

        Raises: Refused.
        """
        self._read.add(name)
        if not self._given.get(name):
            raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return self._given[name]

    def symbol(self) -> str:
        """Return the symbol, which must be listed.

        Raises: Refused.
        """
        return self._checked(self.mandatory("symbol"), "symbol")

    def symbols(self) -> tuple[list[str], bool]:
        """Return the symbols asked for by `symbol` or `symbols` (all without either), and whether one alone was named.

        Raises: Refused.
        """
        one, several = self.text("symbol"), self.text("symbols")
        if one is not None and several is not None:
            raise Refused(*INVALID_COMBINATION)
        if one is not None:
            return [self._checked(one, "symbol")], True
        if several is None:
            return list(self._listed), False
        try:
            names = msgspec.json.decode(several, type=list[str])
        except msgspec.MsgspecError:
            raise Refused(-1100, _illegal("symbols", '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$')) from None
        return [self._checked(name, "symbols") for name in names], False

    def number(self, name: str) -> int | None:
        """Return an optional whole number.

        Raises: Refused.
        """
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) > MAX_NUMBER:
            raise Refused(-1100, _illegal(name, "^[0-9]{1,20}$"))
        return int(text)

    def limit(self, default: int = 500, most: int = 1000) -> int:
        """Return the row limit; more than the exchange gives means as many as it gives.

        Raises: Refused.
        """
        limit = self.number("limit")
        if limit is None:
            return default
        if limit == 0:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit, most)

    def finish(self) -> None:
        """Refuse parameters that the endpoint does not know.

        Raises: Refused.
        """
        unknown = set(self._given) - self._read
        if unknown and not self._read:
            raise Refused(-1101, f"Too many parameters; expected '0' and received '{len(unknown)}'.")
        if unknown:
            read, sent = len(self._given) - len(unknown), len(self._given)
            raise Refused(
                -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
            )

    def _checked(self, symbol: str, name: str) -> str:
        if not SYMBOL.match(symbol):
            raise Refused(-1100, _illegal(name, SYMBOL.pattern))
        if symbol not in self._listed:
            raise Refused(*INVALID_SYMBOL)
        return symbol


def _illegal(name: str, legal: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
