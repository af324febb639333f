"""The exchange's own refusals, by its codes and words, and the reading of a request's parameters that leads to them.

Codes: github.com/binance/binance-spot-api-docs, errors.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from quantstream.core.time import MICROSECONDS_FROM, MINUTE

SYMBOL = re.compile(r"(?:[^\Wa-z]|[-.]){1,50}")
SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"  # the exchange's own words: letters of any script, no lower case ones
MAX_NUMBER = 2**63 - 1
STATUSES = ("TRADING", "HALT", "BREAK")
MINUTES = re.compile(r"([+\- ]?)(\d{1,2})(?::([0-5]\d))?")
EAST, WEST = 14 * 60, -12 * 60  # minutes: the time zones that the exchange takes


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


class NotTraded(Refused):
    """A symbol of which nothing can be told yet."""

    def __init__(self, symbol: str) -> None:
        super().__init__(-1000, f"{symbol} has not traded yet.")


INVALID_SYMBOL = (-1121, "Invalid symbol.")
INVALID_INTERVAL = (-1120, "Invalid interval.")
INVALID_COMBINATION = (-1128, "Combination of optional parameters invalid.")
INVALID_STATUS = (-1122, "Invalid symbolStatus.")
OTHER_STATUS = (-1220, "The symbol's status does not match the requested symbolStatus.")
INVALID_TICKER_TYPE = (-1139, "Invalid ticker type.")
INVALID_TIME_UNIT = (-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
NO_SYMBOL = (-1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!")
DUPLICATE_PARAMETER = (-1101, "Duplicate values for a parameter detected.")
DUPLICATE_SYMBOL = (-1151, "Symbol is present multiple times in the list.")


class Query:
    """The parameters of one request; each is checked as it is read, and `finish` refuses those that nobody read."""

    def __init__(self, given: Mapping[str, str], listed: Collection[str], takes_micros: bool = True) -> None:
        """`takes_micros`: whether times may be given in µs.

        Raises: Refused when a parameter is there twice.
        """
        self._given = given
        self._listed = listed
        self._takes_micros = takes_micros
        self._read: set[str] = set()
        if len(given) != len(set(given)):
            raise Refused(*DUPLICATE_PARAMETER)

    @property
    def listed(self) -> Collection[str]:
        """The symbols that may be asked for."""
        return self._listed

    @property
    def given(self) -> set[str]:
        """The names of the parameters that were sent."""
        return set(self._given)

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

    def symbol(self, name: str = "symbol") -> str:
        """Return the symbol, which must be listed.

        Raises: Refused.
        """
        return self._checked(self.mandatory(name), name)

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
            raise Refused(-1100, _illegal("symbols", _SYMBOLS_RANGE)) from None
        if len(names) != len(set(names)):
            raise Refused(*DUPLICATE_SYMBOL)
        return [self._checked(name, "symbols") for name in names], False

    def some_symbols(self, most: int) -> tuple[list[str], bool]:
        """Return the symbols like `symbols`, of which one at least must be named and `most` at most.

        Raises: Refused.
        """
        found = self.symbols()
        if not {"symbol", "symbols"} & self.given:
            raise Refused(*NO_SYMBOL)
        if len(found[0]) > most:
            raise Refused(-1101, f"Too many values sent for parameter 'symbols', maximum allowed up to {most}.")
        return found

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return an optional parameter that is one of some words.

        Raises: Refused.
        """
        text = self.text(name)
        if text is not None and text not in choices:
            raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
        return text

    def status(self) -> str | None:
        """Return the trading status asked for.

        Raises: Refused for one that does not exist.
        """
        status = self.text("symbolStatus")
        if status is not None and status not in STATUSES:
            raise Refused(*INVALID_STATUS)
        return status

    def is_mini(self) -> bool:
        """Tell whether the short form of a ticker is asked for.

        Raises: Refused for a form that does not exist.
        """
        form = self.text("type")
        if form not in (None, "FULL", "MINI"):
            raise Refused(*INVALID_TICKER_TYPE)
        return form == "MINI"

    def time_zone(self) -> int:
        """Return the offset of the time zone asked for, µs.

        Raises: Refused for what is none, or lies outside −12:00 to +14:00.
        """
        text = self.text("timeZone")
        if text is None:
            return 0
        found = MINUTES.fullmatch(text)  # a plus that was not escaped arrives as a space
        minutes = int(found[2]) * 60 + int(found[3] or 0) if found else EAST + 1
        if found and found[1] == "-":
            minutes = -minutes
        if not WEST <= minutes <= EAST:
            raise Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")
        return minutes * MINUTE

    def since(self, name: str) -> int | None:
        """Return an optional time, µs; it is given in ms or in µs, whatever the unit of the answer.

        Raises: Refused.
        """
        given = self.number(name)
        return None if given is None else given * self._unit(given)

    def until(self, name: str) -> int | None:
        """Return the first µs after an optional time that is meant inclusively.

        Raises: Refused.
        """
        given = self.number(name)
        return None if given is None else (given + 1) * self._unit(given)

    def _unit(self, given: int) -> int:
        return 1 if self._takes_micros and given >= MICROSECONDS_FROM else 1000

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
        if not SYMBOL.fullmatch(symbol):
            raise Refused(-1100, _illegal(name, SYMBOL_RANGE))
        if symbol not in self._listed:
            raise Refused(*INVALID_SYMBOL)
        return symbol


_SYMBOLS_RANGE = r'^\["[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}\]$'


def _illegal(name: str, legal: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
