"""Value at risk as lines that a person reads and as values for JSON: of symbols, and of a book of positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from ml.value_at_risk.book_risk import BookRisk, PositionRisk
from ml.value_at_risk.loss_tail import LEVELS, Risk
from ml.value_at_risk.observations import HORIZONS
from ml.value_at_risk.stored_risk import Told
from quantstream.core.moments import moment_text
from quantstream.core.time import utc

WORDS = {"1h": "next hour", "1d": "next day"}
HEAD = [f"{what} {level * 100:.0f} %" for level in LEVELS for what in ("VaR", "ES")]


def book_lines(book: BookRisk) -> list[str]:
    """Return the risk of positions as lines, a table for each horizon."""
    lines = [f"Told at the close of {utc(book.at):%Y-%m-%d %H:%M} UTC; losses in the quote currency."]
    for horizon in HORIZONS:
        rows = [_position_cells(one, horizon.name) for one in book.positions if one.risks]
        if book.risks:
            rows.append(
                ["book", "", _money(sum(one.value for one in book.positions)), "", *_cells(book.risks[horizon.name])]
            )
        if rows:
            lines += ["", *_table([WORDS[horizon.name], "quantity", "value", "σ", *HEAD], rows)]
        if book.risks:
            saved = ", ".join(
                f"{book.diversification(horizon.name, level) * 100:.0f} % at {level * 100:.0f} %" for level in LEVELS
            )
            lines.append(f"The book's VaR is below the sum of its positions' by {saved} (diversification).")
    return [*lines, *([""] if book.troubles else []), *book.troubles]


def symbol_lines(told: Told) -> list[str]:
    """Return the risk of symbols as lines: of each unit of money that is held long or sold short."""
    lines = [
        f"Told at the close of {utc(told.at):%Y-%m-%d %H:%M} UTC; losses in per cent of what is held or sold short."
    ]
    for horizon in HORIZONS if told.found else ():
        rows = []
        for symbol, found in told.found.items():
            for side, by_level in (("long", found.long(horizon.name)), ("short", found.short(horizon.name))):
                first = [symbol, _percent(found.sigma[horizon.name])] if side == "long" else ["", ""]
                rows.append([*first, side, *(_percent(number) for number in _numbers(by_level))])
        lines += ["", *_table([WORDS[horizon.name], "σ", "side", *HEAD], rows)]
    return [*lines, *([""] if told.troubles else []), *told.troubles.values()]


def book_fields(book: BookRisk) -> dict[str, Any]:
    """Return the risk of positions as values for JSON; a number that is not known is null."""
    whole: dict[str, Any] | None = None
    if book.risks:
        by_horizon = {
            name: {
                key: {**fields, "diversification": book.diversification(name, level)}
                for level, (key, fields) in zip(LEVELS, _risk_fields(found).items(), strict=True)
            }
            for name, found in book.risks.items()
        }
        value = sum(one.value for one in book.positions)
        whole = {"quote": book.quote, "value": value, "risks": by_horizon, "tail_shares": _shares(book)}
    positions = [_position_fields(one) for one in book.positions]
    return {"told_at": moment_text(book.at), "positions": positions, "book": whole, "troubles": list(book.troubles)}


def symbol_fields(told: Told) -> dict[str, Any]:
    """Return the risk of symbols as values for JSON, as shares of the price."""
    symbols = {
        symbol: {
            "close": found.close,
            "sigma": dict(found.sigma),
            "long": {one.name: _risk_fields(found.long(one.name)) for one in HORIZONS},
            "short": {one.name: _risk_fields(found.short(one.name)) for one in HORIZONS},
        }
        for symbol, found in told.found.items()
    }
    return {"told_at": moment_text(told.at), "symbols": symbols, "troubles": list(told.troubles.values())}


def _position_fields(one: PositionRisk) -> dict[str, Any]:
    return {
        "symbol": one.position.symbol,
        "quantity": str(one.position.quantity),
        "quote": one.quote,
        "price": one.price if isfinite(one.price) else None,
        "value": one.value if isfinite(one.value) else None,
        "sigma": dict(one.sigma),
        "risks": {name: _risk_fields(found) for name, found in one.risks.items()},
        "trouble": one.trouble,
    }


def _risk_fields(found: Mapping[float, Risk]) -> dict[str, dict[str, float]]:
    return {f"{level * 100:.0f}": dict(found[level].__dict__) for level in LEVELS}


def _shares(book: BookRisk) -> dict[str, dict[str, float]]:
    names = [one.position.symbol for one in book.positions]
    return {horizon: dict(zip(names, parts, strict=True)) for horizon, parts in book.shares.items()}


def _position_cells(one: PositionRisk, horizon: str) -> list[str]:
    first = [one.position.symbol, f"{one.position.quantity:f}", f"{_money(one.value)} {one.quote}"]
    return [*first, _percent(one.sigma[horizon]), *_cells(one.risks[horizon])]


def _cells(found: Mapping[float, Risk]) -> list[str]:
    return [_money(number) for number in _numbers(found)]


def _numbers(found: Mapping[float, Risk]) -> Iterable[float]:
    for level in LEVELS:
        yield found[level].value_at_risk
        yield found[level].expected_shortfall


def _money(amount: float) -> str:
    """Money to cents, or to five digits where it is less."""
    return f"{amount:,.2f}" if abs(amount) >= 1 or amount == 0 else f"{amount:.5g}"


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return columns as wide as their cells, the first to the left."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in (head, *rows)
    ]
