"""Value at risk and expected shortfall of the positions in a file: computed in the background, a card of the risk page.

The file is read at each turn, so a changed one needs no new start; what is wrong with it is the card's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard import formats
from dashboard.background import Background
from dashboard.overview_tables import table
from dashboard.panels import Tile, strip, troubles
from quantstream.core.errors import QuantStreamError, Unavailable
from quantstream.core.time import HOUR, SECOND
from quantstream.lake.store import Lake

if TYPE_CHECKING:
    from ml.value_at_risk.book_risk import BookRisk, PositionRisk
    from ml.value_at_risk.loss_tail import Risk

READ_EVERY = 60.0  # seconds: it is the risk of an hour and a day
OLD = HOUR  # µs of the market's clock, past which a figure is said to be old
WORDS = {"1h": "next hour", "1d": "next day"}
SAYS = "name a file of lines symbol,quantity in QUANTSTREAM_POSITIONS, and its value at risk is told here"


class Book(Background):
    """Keeps the risk of the positions in a file, or the sentence that says why there is none."""

    def __init__(self, lake: Lake, file: str) -> None:
        super().__init__("book", READ_EVERY)
        self.lake, self.file = lake, file
        self.risk: BookRisk | None = None
        self.note = "" if file else SAYS  # what is no trouble, and yet the reason why there is no figure

    def turn(self) -> None:
        """Read the file and the lake once; of a file that is wrong no figure stays.

        Raises: QuantStreamError.
        """
        if not self.file:
            return
        from ml.value_at_risk.positions import (
            read_positions,
        )  # what follows imports much: the page must not wait for it
        from ml.value_at_risk.stored_risk import risk_of_positions

        if not Path(self.file).exists():
            self.risk, self.trouble = None, ""
            self.note = f"there are no positions at {self.file} yet: lines of symbol,quantity"
            return
        try:
            found = risk_of_positions(self.lake, read_positions(Path(self.file)))
        except Unavailable:
            raise  # what was told last stays, with its age
        except QuantStreamError:
            self.risk = None
            raise
        except OSError as error:
            raise Unavailable(f"the lake at {self.lake.url} cannot be read now: {error}") from error
        self.risk, self.trouble, self.note = found, "", ""


def book_aside(book: Book, market_at: int) -> str:
    """Return when it was told, and how long ago that is by the market's clock (µs; 0 where it is not known)."""
    if book.risk is None:
        return "positions of a file"
    age = max(market_at - book.risk.at, 0)
    told = f"told at the close of {formats.stamp(book.risk.at)[:16]} UTC"
    return f"{told}, {formats.span(age / SECOND)} ago" if market_at else told


def book_body(book: Book, market_at: int) -> str:
    """Return the card: what is wrong, the book's figures, a table of each horizon."""
    risk = book.risk
    sentences = [book.trouble] if book.trouble else []
    if risk is None:
        asking = "" if book.has_turned or not book.file else "reading the positions"
        rest = book.note or ("" if sentences else asking)
        return troubles(sentences) + (f'<p class="qs-nothing">{escape(rest)}</p>' if rest else "")
    if market_at - risk.at > OLD:
        sentences.append(
            f"the figures are old: {formats.span((market_at - risk.at) / SECOND)} of market time have passed since"
        )
    sentences += risk.troubles
    tiles = strip(_tiles(risk), "book") if risk.risks else ""
    return troubles(sentences) + tiles + "".join(_table(risk, horizon) for horizon in WORDS)


def _tiles(book: BookRisk) -> list[Tile]:
    tiles = []
    for horizon, words in WORDS.items():
        for level, risk in book.risks[horizon].items():
            saved = book.diversification(horizon, level)
            hint = f"at most so much is lost {words} with a probability of {level * 100:.0f} %"
            hint += f"; {saved * 100:.0f} % less than the sum of the positions'"
            tiles.append(
                Tile(
                    f"VaR {level * 100:.0f} % {words}",
                    f"{_money(risk.value_at_risk)} {book.quote}",
                    "",
                    hint,
                    f"beyond it {_money(risk.expected_shortfall)} in the mean",
                )
            )
    return tiles


def _table(book: BookRisk, horizon: str) -> str:
    told = [one for one in book.positions if one.risks]
    if not told:
        return ""
    levels = list(told[0].risks[horizon])
    head = [WORDS[horizon].capitalize(), "Quantity", "Price", "Value", "σ"]
    head += [f"{what} {level * 100:.0f} %" for level in levels for what in ("VaR", "ES")]
    shares = dict(zip((one.position.symbol for one in book.positions), book.shares.get(horizon, ()), strict=False))
    if shares:
        head.append("Part of the tail")
    rows = [_row(one, horizon, shares) for one in told]
    if book.risks:
        value = _money(sum(one.value for one in told))
        rows.append(["<b>book</b>", "", "", value, "", *_cells(book.risks[horizon]), "100%"])
    return table(head, rows, f"book-{horizon}")


def _row(one: PositionRisk, horizon: str, shares: dict[str, float]) -> list[str]:
    symbol = one.position.symbol
    cells = [
        f"<b>{escape(symbol)}</b>",
        escape(f"{one.position.quantity:f}"),
        formats.price(one.price, formats.decimals_of([one.price])),
        f"{_money(one.value)} {escape(one.quote)}",
        formats.percent(one.sigma[horizon], signed=False),
        *_cells(one.risks[horizon]),
    ]
    return [*cells, formats.percent(shares[symbol], 0, signed=False)] if shares else cells


def _cells(found: Mapping[float, Risk]) -> list[str]:
    return [_money(number) for risk in found.values() for number in (risk.value_at_risk, risk.expected_shortfall)]


def _money(amount: float) -> str:
    return formats.price(amount) if abs(amount) >= 1 or amount == 0 else f"{amount:.4g}"
