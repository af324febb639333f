"""Which column of a CSV holds what: by the names in its header, by names that are given, or by the archives' two layouts.

A header is a line of names; what is not one is a row. Names differ from tool to tool, so each field has several; a file that
lacks a field is refused with the names found and the names wanted, never read by guess.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantstream.core.decimals import to_units
from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.core.trade import Trade
from streaming.recordings.cells import maker_of_side, moment, plain, symbol, truth, whole

AGGREGATE_IDS = ("aggtradeid", "aggregatetradeid", "aggid")
FIELDS: dict[str, tuple[str, ...]] = {  # of each field its names, the surest first
    "id": (*AGGREGATE_IDS, "tradeid", "id"),
    "first": ("firsttradeid", "firstid"),
    "last": ("lasttradeid", "lastid"),
    "price": ("price",),
    "quantity": ("qty", "quantity", "amount", "size", "baseqty"),
    "at": ("transacttime", "tradetime", "tradedat", "time", "timestamp", "ts", "datetime", "date"),
    "maker": ("isbuyermaker", "buyerismaker", "wasthebuyerthemaker", "buyermaker"),
    "best": ("isbestmatch", "bestmatch", "isbest", "wasthetradethebestpricematch"),
    "side": ("side", "takerside", "aggressorside"),
    "symbol": ("symbol", "pair", "market", "instrument"),
}
EVENT_NAMES = {"a": "id", "t": "id", "f": "first", "l": "last", "p": "price", "q": "quantity"}  # the exchange's own:
EVENT_NAMES |= {"T": "at", "m": "maker", "M": "best", "s": "symbol"}  # case counts
WANTED = "id, price, qty, time and is_buyer_maker (or side), and of aggregates first_trade_id and last_trade_id"
_NOT_A_NAME = re.compile(r"^\s*(?:[-+.\d].*|true|false|nan|null|none|)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """The place of each field in rows of `width` cells."""

    places: Mapping[str, int]
    width: int

    @property
    def is_plain(self) -> bool:
        """Whether it has nothing but what whole blocks are read by."""
        return "maker" in self.places and "symbol" not in self.places


SINGLE = {"id": 0, "price": 1, "quantity": 2, "at": 4, "maker": 5}  # column 3 is the quote quantity
AGGREGATE = {"id": 0, "price": 1, "quantity": 2, "first": 3, "last": 4, "at": 5, "maker": 6}
ARCHIVES = tuple(  # each with and without whether the price was the best
    Layout({**places, "best": width} if has_best else places, width + has_best)
    for places, width in ((SINGLE, 6), (AGGREGATE, 7))
    for has_best in (False, True)
)


def cells_of(line: bytes) -> list[str]:
    """Return the cells of one line; a quoted cell may hold commas but no line end.

    Raises: BadRecord.
    """
    try:
        rows = list(csv.reader([line.decode()], strict=True, skipinitialspace=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadRecord(str(error)) from None
    return rows[0] if rows else []


def is_header(cells: Sequence[str]) -> bool:
    """Tell whether a line is one of names: at least two, and neither numbers nor truths among them."""
    named = [cell for cell in cells if cell.strip()]
    return len(named) >= 2 and not any(_NOT_A_NAME.match(cell) for cell in named)


def layout_of(names: Sequence[str]) -> Layout:
    """Return the layout that a header's names tell.

    Raises: Misconfigured with the names found and those wanted; also for names given twice and for contracts, which are
    no coins.
    """
    exact = [name.strip() for name in names]
    known = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in exact]
    if "baseqty" in known and set(known) & {"qty", "quantity"}:
        raise Misconfigured(
            "its columns are those of COIN-M: quantities are contracts, not coins, and would make false volumes; "
            "give trades of a spot or USD-M symbol"
        )
    if twice := sorted({exact[place] for place in _places_named_twice(known, exact)}):
        raise Misconfigured(
            f"the columns {', '.join(exact)[:300]} name {', '.join(twice)} twice, and which one is meant is nowhere said: "
            "name them with --columns, in the file's order"
        )
    places = {EVENT_NAMES[name]: number for number, name in enumerate(exact) if name in EVENT_NAMES}
    for field, wanted in FIELDS.items():
        found = [known.index(name) for name in wanted if name in known]
        if found:
            places[field] = found[0]
    is_aggregate = "id" in places and (known[places["id"]] in AGGREGATE_IDS or exact[places["id"]] == "a")
    lacking = [field for field in ("id", "price", "quantity", "at") if field not in places]
    lacking += [] if {"maker", "side"} & set(places) else ["maker"]
    lacking += [field for field in ("first", "last") if is_aggregate and field not in places]
    if lacking:
        raise Misconfigured(
            f"the columns {', '.join(exact)[:300]} do not tell {', '.join(lacking)}; wanted are {WANTED}: "
            "name them with --columns, in the file's order"
        )
    return Layout(places, len(names))


def _places_named_twice(known: Sequence[str], exact: Sequence[str]) -> list[int]:
    """Return the places of names that a trade is read by and that stand there more than once."""
    read_by = {name for wanted in FIELDS.values() for name in wanted}
    return [
        place
        for place, name in enumerate(known)
        if (name in read_by and known.count(name) > 1)
        or (exact[place] in EVENT_NAMES and exact.count(exact[place]) > 1)
    ]


def trade_of(cells: Sequence[str], layout: Layout | None, named: str) -> Trade:
    """Return the trade of a row; without a layout it is one of the archives'.

    Raises: BadRecord.
    """
    layout = layout or _archive(cells)
    if len(cells) != layout.width:
        raise BadRecord(f"{len(cells)} cells where {layout.width} should be")
    found = {field: cells[place] for field, place in layout.places.items()}
    number = whole(found["id"])
    if "best" in found:
        truth(found["best"])
    return Trade(
        symbol=symbol(found["symbol"]) if "symbol" in found else named,
        id=number,
        first_trade_id=whole(found["first"]) if "first" in found else number,
        last_trade_id=whole(found["last"]) if "last" in found else number,
        price=to_units(plain(found["price"])),
        quantity=to_units(plain(found["quantity"])),
        traded_at=moment(found["at"]),
        buyer_is_maker=truth(found["maker"]) if "maker" in found else maker_of_side(found["side"]),
    )


def _archive(cells: Sequence[str]) -> Layout:
    for layout in ARCHIVES:
        maker = layout.places["maker"]
        if len(cells) == layout.width and cells[maker].strip().lower() in ("true", "false"):
            return layout
    raise BadRecord(f"{len(cells)} cells that are neither a trade's nor an aggregate's")
