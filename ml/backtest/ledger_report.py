"""A ledger in words, as JSON values, and as rows that a page or a file shows: one account, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from ml.backtest.booking import Row, Trade
from ml.backtest.costs import number
from ml.backtest.figures import Figures, figures_of
from ml.backtest.fills import Unfilled
from ml.backtest.ledger import Ledger
from ml.backtest.stored_prices import TRADES
from ml.backtest.verdicts import bp, verdict
from quantstream.core.decimals import QUOTE_DECIMALS, UNIT, units_decimal
from quantstream.core.time import MILLISECOND, SECOND, utc
from quantstream.lake.schemas import PRICE, QUOTE, TIME

SHORTEST_CURRENCY = 3  # letters
COLUMNS = pa.schema(
    [
        ("symbol", pa.string()),
        ("opened_at", TIME),  # of the candle that was scored
        ("scored_at", TIME),
        ("version", pa.string()),
        ("role", pa.string()),
        ("action", pa.string()),
        ("entered_at", TIME),
        ("entry_price", PRICE),
        ("exited_at", TIME),
        ("exit_price", PRICE),
        ("exit_reason", pa.string()),  # target, stop, time; or why there is no trade
        ("prices", pa.string()),  # trades, 1m candles, 5m candles
        ("quantity", PRICE),
        ("gross", QUOTE),
        ("fees", QUOTE),
        ("slippage", QUOTE),
        ("net", QUOTE),
        ("gross_bp", pa.float64()),
        ("net_bp", pa.float64()),
    ]
)


def table_of(ledger: Ledger) -> pa.Table:
    """Return the ledger's rows as a table, exact; of an action that has no trade `exit_reason` says why."""
    return pa.Table.from_pylist([_cells(row) for row in ledger.rows], COLUMNS)


def _cells(row: Row) -> dict[str, Any]:
    one = row.decision
    times = {"opened_at": utc(one.opened_at), "scored_at": utc(one.scored_at)}
    said = {"symbol": one.symbol, **times, "version": one.version, "role": one.role, "action": one.action}
    if not isinstance(row, Trade):
        return {**said, "exit_reason": str(row.why)}
    position = row.position
    money = {name: units_decimal(getattr(row, name), QUOTE_DECIMALS) for name in ("gross", "fees", "slippage", "net")}
    return {
        **said,
        "entered_at": utc(position.entered_at),
        "entry_price": units_decimal(position.entry),
        "exited_at": utc(position.exited_at),
        "exit_price": units_decimal(position.exit),
        "exit_reason": str(position.reason),
        "prices": row.prices,
        "quantity": units_decimal(row.quantity),
        **money,
        "gross_bp": row.in_bp(row.gross),
        "net_bp": row.in_bp(row.net),
    }


def fields(ledger: Ledger) -> dict[str, Any]:
    """Return the account as JSON values; money as exact decimals in text, None where nothing can be said."""
    asked, counted, found = ledger.asked, ledger.counted, figures_of(ledger.trades)
    rates = {name: float(getattr(asked.costs, name)) for name in ("fee_bp", "spread_bp", "slippage_bp", "side_bp")}
    return {
        "verdict": verdict(ledger, found),
        "rule": rule(ledger),
        "latency_s": asked.rules.latency / SECOND,
        "stop_latency_s": asked.rules.stop_latency / SECOND,
        "costs": rates,
        "notional": f"{units_decimal(asked.notional):f}",
        "actions": "by probability" if asked.by_probability else "as scored",
        "scores": counted.scores,
        "holds": counted.holds,
        "not_filled": dict(ledger.missed),
        "filled_by": dict(ledger.prices),
        "notes": list(notes(ledger)),
        "figures": values(found),
        "symbols": {name: values(part) for name, part in parts(ledger, _symbol)},
        "versions": {name: values(part) for name, part in parts(ledger, version_of)},
    }


def notes(ledger: Ledger) -> Iterator[str]:
    """Yield what a reader must know of the scores and trades that were counted, a sentence each."""
    counted, coarse = ledger.counted, sum(count for name, count in ledger.prices.items() if name != TRADES)
    told = (
        (
            coarse,
            "trades were filled by candles, for trades are missing: entered up to a candle later, barriers by highs and lows",
        ),
        (counted.silent, "scores have no signal: no model was there yet, or it abstained"),
        (counted.held_back, "scores of days in quarantine are left out"),
        (
            counted.early,
            "scores were made before their candle closed, by our clock: the market's runs ahead; known at the close",
        ),
        (counted.unknown, "scores have no threshold, so no action: candles of the day before are missing"),
    )
    yield from (f"{count:,} {what}" for count, what in told if count)
    if ledger.missed[Unfilled.LATE] and ledger.asked.clock == "score":
        yield "where scores of a recording were made long after its market, --clock candle takes them as known at the close"
    if len({trade.decision.symbol[-SHORTEST_CURRENCY:] for trade in ledger.trades}) > 1:
        yield "symbols end differently, so their quote currencies may differ: money is added up as if they were one, bp are not"


def version_of(trade: Trade) -> str:
    """Return which version a trade followed, and in which role."""
    return f"{trade.decision.version} ({trade.decision.role})"


def parts(ledger: Ledger, of: Callable[[Trade], str]) -> Iterator[tuple[str, Figures]]:
    """Yield the figures of the trades of each symbol, or whatever `of` tells them apart by."""
    found: dict[str, list[Trade]] = {}
    for trade in ledger.trades:
        found.setdefault(of(trade), []).append(trade)
    for name in sorted(found):
        yield name, figures_of(found[name])


def values(found: Figures) -> dict[str, Any]:
    """Return figures as JSON values; money as exact decimals in text, None where nothing can be said."""
    money = ("gross", "fees", "slippage", "net", "turnover", "drawdown")
    plain = ("trades", "blocks", "net_bp", "gross_bp", "hit_rate", "days", "exposure", "mean_open", "most_open")
    bounds = {"net_bp": found.net_bounds, "gross_bp": found.gross_bounds, "break_even_bp": found.break_even_bounds}
    return {
        **{name: getattr(found, name) for name in plain},
        "break_even_bp": None if found.break_even_bp is None else float(found.break_even_bp),
        **{f"{name}_95": list(each) if each else None for name, each in bounds.items()},
        **{name: f"{units_decimal(getattr(found, name), QUOTE_DECIMALS):f}" for name in money},
    }


def rule(ledger: Ledger) -> str:
    """Say in a sentence how actions were filled."""
    rules, asked = ledger.asked.rules, ledger.asked
    stop = "the next trade" if not rules.stop_latency else f"the first trade {length(rules.stop_latency)} later"
    since = "its candle's close" if asked.clock == "candle" else "the score"
    acts = "where the probabilities promise more than a round trip costs" if asked.by_probability else "as scored"
    return (
        f"actions {acts}; entered at the first trade {length(rules.latency)} after {since} or later; left at the target once "
        f"a trade goes through it, at {stop} after one that touches the stop, or at the first trade after the candle's hour; "
        f"every action is a trade of {money(asked.notional * UNIT)} of its own"
    )


def length(micros: int) -> str:
    """Return a length of time as a person writes it: 250 ms, 1 s."""
    return f"{micros / SECOND:g} s" if micros >= SECOND or not micros else f"{micros / MILLISECOND:g} ms"


def money(units: int) -> str:
    """Return money to the cent, for a person: 1,234.56."""
    return f"{units_decimal(units, QUOTE_DECIMALS):,.2f}".replace("-", "−")


def lines(ledger: Ledger) -> list[str]:
    """Return the account as lines for a terminal: rules and costs, the summary, then symbols and versions apart."""
    said = [f"{name:30} {value}" for name, value in summary_rows(ledger)]
    for of, title in ((_symbol, "by symbol"), (version_of, "by version of the signal")):
        found = list(parts(ledger, of))
        if len(found) > 1:
            said += ["", f"{title}:", *(f"  {name:20} {_line(part)}" for name, part in found)]
    checked = ["no fill looked ahead"] if ledger.asked.is_checked and not ledger.faults else []
    return [f"costs: {ledger.asked.costs}", f"fills: {rule(ledger)}", "", *said, *checked]


def _symbol(trade: Trade) -> str:
    return trade.decision.symbol


def _line(found: Figures) -> str:
    assert found.break_even_bp is not None
    even = number(round(found.break_even_bp, 1))
    return (
        f"{found.trades:,} trades, {bp(found.net_bp, found.net_bounds)} each after costs, break-even {even} bp a side"
    )


def summary_rows(ledger: Ledger) -> list[tuple[str, str]]:
    """Return the account as rows of a name and a value, which a terminal and the dashboard's page of models show alike."""
    found = figures_of(ledger.trades)
    rows = [("verdict", verdict(ledger, found)), *_counts(ledger)]
    if not found.trades:
        return rows
    assert found.break_even_bp is not None
    return [
        *rows,
        ("earned before costs, a trade", bp(found.gross_bp, found.gross_bounds)),
        ("earned after costs, a trade", bp(found.net_bp, found.net_bounds)),
        ("break-even cost", f"{number(round(found.break_even_bp, 2))} bp a side"),
        (
            "gross − fees − slippage = net",
            " ".join(
                f"{sign} {money(each)}"
                for sign, each in (("", found.gross), ("−", found.fees), ("−", found.slippage), ("=", found.net))
            ).strip(),
        ),
        ("trades that earned something", f"{100 * (found.hit_rate or 0):.1f} %"),
        ("turnover", f"{money(found.turnover)} in {found.days:.1f} days"),
        ("deepest fall", money(found.drawdown)),
        *_exposures(found),
    ]


def _exposures(found: Figures) -> list[tuple[str, str]]:
    if found.exposure is None:
        return []
    text = (
        f"{100 * found.exposure:.1f} % of the time, {found.mean_open:.2f} trades in the mean, {found.most_open} at most"
    )
    return [("open", text)]


def _counts(ledger: Ledger) -> list[tuple[str, str]]:
    counted, filled = ledger.counted, ledger.prices
    acted = counted.scores - counted.holds
    rows = [("scores", f"{counted.scores:,}: {counted.holds:,} Hold, {acted:,} Buy or Sell")]
    rows += [("trades", "; ".join(f"{count:,} filled by {name}" for name, count in sorted(filled.items())) or "none")]
    rows += [("not filled", f"{count:,} {why}") for why, count in sorted(ledger.missed.items())]
    return rows + [("note", one) for one in notes(ledger)]
