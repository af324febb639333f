"""Candles count while their symbol was listed, and what survivorship may cost is said beside every result."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from ml.data import dataset
from ml.data.instrument_look import first_look, look, said
from ml.data.universe import NOT_NOTED, flattery, outside, survivorship
from ml.evaluation import evaluation_report
from ml.training import train
from quantstream.binance.rest import BlockingRest
from quantstream.core.errors import DataRejected, Misconfigured, Unavailable
from quantstream.core.instrument import DELISTED, Instrument
from quantstream.core.time import DAY, SECOND
from quantstream.lake.instruments import History, history, instrument_rows
from quantstream.lake.store import Lake
from quantstream.settings import Settings
from tests.unit.ml import markets

T0 = 1_763_769_600 * SECOND  # 2025-11-22
NAMES = ("BTCUSDT", "ETHUSDT", "LUNAUSDT", "ETHBTC")
LISTED = [
    Instrument(
        name, "TRADING", name[:-4] if name.endswith("USDT") else "ETH", "USDT" if name.endswith("USDT") else "BTC"
    )
    for name in NAMES
]


def listings(first: int = T0) -> History:
    rows = instrument_rows(LISTED, first, T0, "exchangeInfo").to_pylist()
    rows += instrument_rows([replace(LISTED[2], status=DELISTED)], T0 + 2 * DAY, T0, "exchangeInfo").to_pylist()
    return History(rows)


def told(symbols: set[str], history: History) -> str:
    return survivorship(symbols, T0, T0 + 4 * DAY, history)


def test_candles_of_a_symbol_that_was_gone_are_left_out() -> None:
    at = pd.date_range("2025-11-22", periods=5, freq="D", tz="UTC").astype("datetime64[us, UTC]")
    frame = pd.DataFrame({"opened_at": at, "close": range(5)})
    kept = {
        name: outside(frame, listings().away(name))["close"].to_list() for name in ("BTCUSDT", "LUNAUSDT", "NEWUSDT")
    }
    assert kept == {"BTCUSDT": [0, 1, 2, 3, 4], "LUNAUSDT": [0, 1], "NEWUSDT": [0, 1, 2, 3, 4]}
    assert outside(frame, ((T0, T0 + DAY), (T0 + 3 * DAY, None)))["close"].to_list() == [1, 2]


def test_the_gone_of_the_same_quote_are_counted_and_so_are_those_in_the_data() -> None:
    assert told({"BTCUSDT"}, listings()) == (
        "of 3 symbols with the same quote that were listed on 2025-11-22, 1 are gone on 2025-11-26, 0 of these are in the data; "
        "results are of survivors, and flatter by as much as the others cost"
    )
    assert told({"BTCUSDT", "LUNAUSDT"}, listings()).endswith("1 of these are in the data")


def test_what_survivors_flatter_by_is_a_figure_where_the_gone_are_in_the_data() -> None:
    def falling(days: int, total: float) -> pd.DataFrame:
        frame = markets.candles(days * 288 + 1, 1)
        frame["opened_at"] = pd.date_range("2025-11-22", periods=len(frame), freq="5min", tz="UTC")
        level = np.exp(np.linspace(0, total, len(frame)))
        return frame.assign(**{name: frame[name] / frame["close"] * level for name in ("open", "high", "low", "close")})

    data = dataset.build({"BTCUSDT": falling(4, 0.04), "LUNAUSDT": falling(2, -0.64)}, trailing=300)
    assert flattery(data, listings()) == (
        "; held for a month, one of all 2 symbols in the data made -300.00 % (mean log return), one of the 1 that are still "
        "listed +30.00 %: survivors alone flatter by +330.00 points a month"
    )
    alive = dataset.build({"BTCUSDT": falling(4, 0.04), "ETHUSDT": falling(4, 0.01)}, trailing=300)
    assert flattery(alive, listings()) == ""
    assert flattery(dataset.build({"LUNAUSDT": falling(4, -1.0)}, trailing=300), listings()) == ""


def test_what_is_not_known_of_the_past_is_said() -> None:
    assert told({"BTCUSDT"}, History([])) == NOT_NOTED
    found = told({"BTCUSDT"}, listings(T0 + DAY))
    assert found.startswith("who was listed before 2025-11-23 is known in part at most: of 3 symbols")
    assert "results are of survivors" in found


def test_a_page_of_results_says_it_even_where_no_lake_was_asked() -> None:
    section = {"rows": 1, "pooled": {}, "symbols": {}}
    assert "who was listed when is not known" in evaluation_report.pages({"risk": section})
    assert "none died." in evaluation_report.pages({"risk": {**section, "universe": "none died"}})


class Listing(BlockingRest):
    """An exchange that lists what it is given."""

    def __init__(self, *symbols: str) -> None:
        super().__init__("http://exchange/api/v3")
        self.symbols, self.at = symbols, T0

    def get(self, path: str, query: object = None) -> object:
        """Answer exchangeInfo."""
        rows = [
            {"symbol": name, "status": "TRADING", "baseAsset": name[:-4], "quoteAsset": "USDT"} for name in self.symbols
        ]
        return {"serverTime": self.at, "symbols": rows}


def test_a_look_says_what_changed_and_later_who_was_listed_then(tmp_path: Path) -> None:
    settings, exchange = Settings(state=tmp_path), Listing("BTCUSDT", "LUNAUSDT")
    assert said(settings).startswith("The lake has no look")
    assert look(settings, time.time_ns() // 1000, rest=exchange)[0].startswith(
        "BTCUSDT is new: TRADING, tick 0.00000000"
    )
    exchange.symbols, exchange.at = ("BTCUSDT",), T0 + DAY
    assert look(settings, T0, rest=exchange) == ["LUNAUSDT changed: status TRADING → DELISTED"]
    assert look(settings, T0, rest=exchange) == []
    assert said(settings, "2025-11-22T12:00").split("\n") == [
        "2 symbols could be traded at 2025-11-22 12:00 UTC: BTCUSDT, LUNAUSDT",
        "1 of them cannot any more: LUNAUSDT",
    ]
    assert said(settings) == "1 symbols could be traded at 2025-11-23 00:00 UTC: BTCUSDT"
    assert "nobody looked" in said(settings, "2025-11-21")
    with pytest.raises(Misconfigured, match="is no time; write it like"):
        said(settings, "noon")


def test_the_first_training_looks_at_the_list_if_nobody_did_and_only_then(tmp_path: Path) -> None:
    settings, exchange = Settings(state=tmp_path), Listing("BTCUSDT", "ETHUSDT")
    assert first_look(settings, T0, exchange) == "2 symbols noted by the first look at the exchange's list"
    found = survivorship({"BTCUSDT"}, T0 - DAY, T0, history(Lake(settings.lake_url)))
    assert found != NOT_NOTED
    assert "of 2 symbols with the same quote" in found
    exchange.symbols = ("BTCUSDT", "ETHUSDT", "NEWUSDT")
    assert first_look(settings, T0, exchange) == ""
    (new,) = look(settings, T0 + DAY, rest=exchange)
    assert new.startswith("NEWUSDT is new: TRADING")


def test_an_exchange_that_is_away_holds_up_no_training(tmp_path: Path) -> None:
    class Away(BlockingRest):
        def get(self, path: str, query: object = None) -> object:
            raise Unavailable("the exchange is away")

    said_of_it = first_look(Settings(state=tmp_path), T0, Away("http://exchange"))
    assert said_of_it.endswith("instruments_watch looks again within the hour: the exchange is away")
    assert first_look(Settings(state=tmp_path), T0, Away("http://exchange")) == said_of_it


def test_features_are_made_after_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr(train, "first_look", lambda settings, _: asked.append(settings) or "")
    settings = Settings(state=tmp_path)
    with pytest.raises(DataRejected):
        train.build_features(settings)
    assert asked == []  # where there are no candles nobody need look
    Lake(settings.lake_url).table("candles")
    with pytest.raises(DataRejected):
        train.build_features(settings)
    assert asked == [settings]
