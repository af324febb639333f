"""What acting would have earned on held-out candles: a plain loop over the same candles agrees, and costs decide who acts."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest

from ml.backtest.held_out import ledger_figures, tape_of_frame
from ml.data import labels
from ml.data.dataset import Dataset, Split
from ml.evaluation.judgement import Report
from ml.metric_words import known
from ml.models import signal
from ml.training import train, trial
from quantstream import features
from quantstream.core.decimals import UNIT
from tests.unit.ml import markets

COUNT = 3_600  # candles of each symbol: twelve days and a half
CANDLES = {"BTCUSDT": markets.candles(COUNT, 1), "ETHUSDT": markets.candles(COUNT, 2, price=3000.0)}
WIDTH = 0.004


def dataset() -> Dataset:
    """Return rows of these candles with barriers of one width; nothing else is read."""
    values = np.full((2 * COUNT, len(features.NAMES)), np.nan)
    values[:, features.NAMES.index(signal.UNIT)] = math.log(WIDTH / math.sqrt(12))
    at = np.concatenate([features.opened_at_us(frame) for frame in CANDLES.values()])
    closes = np.concatenate([frame["close"].to_numpy() for frame in CANDLES.values()])
    return Dataset(tuple(CANDLES), np.repeat([0, 1], COUNT), at, closes, values, {})


DATA = dataset()
ROWS = np.concatenate([np.arange(100, COUNT - 20, 4), np.arange(COUNT + 100, 2 * COUNT - 20, 4)])
RECORDS = {symbol: frame.to_dict("records") for symbol, frame in CANDLES.items()}
EDGE = np.random.default_rng(5).normal(0, 5e-4, len(ROWS))


def by_hand(rows: list[dict[Hashable, Any]], place: int, side: float, wait: int) -> tuple[float, float]:
    """Return entry and exit of a trade on the candle at a place."""
    first, ends = place + 1 + wait, place + 13
    entry = rows[first]["open"]
    target, stop = entry * math.exp(side * WIDTH), entry * math.exp(-side * WIDTH)
    for i in range(first, ends):
        best, worst = (rows[i]["high"], rows[i]["low"]) if side > 0 else (rows[i]["low"], rows[i]["high"])
        if side * worst <= side * stop:
            return entry, rows[i + 1]["open"]
        if side * best > side * target:
            return entry, target
    return entry, rows[ends]["open"]


@pytest.mark.parametrize(("name", "wait"), [("break_even_bp", 1), ("break_even_bp_no_latency", 0)])
def test_the_break_even_cost_of_following_is_a_plain_loop_s(name: str, wait: int) -> None:
    rows, edge = ROWS[::2], EDGE[::2]
    pooled, account = ledger_figures(DATA, rows, {"edge": edge, "side": np.zeros(len(rows))}, CANDLES, 0.002)
    gross = turnover = 0.0
    for row, size in zip(rows, edge, strict=True):
        frame, place = RECORDS[DATA.symbols[DATA.symbol[row]]], int(row) % COUNT
        entry, leave = by_hand(frame, place, float(np.sign(size)), wait)
        gross += np.sign(size) * (leave / entry - 1)
        turnover += leave / entry + 1
    assert pooled[name] == pytest.approx(1e4 * gross / turnover, abs=1e-3)
    assert pooled[f"{name}_low"] < pooled[name] < pooled[f"{name}_high"]
    assert (account["following"]["trades"], account["unfilled"]) == (len(rows), 0)


def test_who_acts_follows_the_costs_and_a_model_that_holds_has_no_trades() -> None:
    pooled, account = ledger_figures(DATA, ROWS, {"edge": EDGE, "side": np.zeros(len(ROWS))}, CANDLES, 0.002)
    for name, bp in (("taker", 10), ("futures", 4), ("maker", 2)):
        assert pooled[f"ledger_trades_{name}"] == (np.abs(EDGE) > 2e-4 * bp).sum() == account[name]["trades"]
        assert account[name]["verdict"].startswith(("No edge", "Too few", "Nothing was acted on"))
    assert pooled["ledger_trades"] == 0
    assert "ledger_net_bp" not in pooled
    assert account["as_acted"]["verdict"] == "Nothing was acted on, so nothing was earned and nothing paid"
    assert account["as_acted"]["net_bp"] is None
    assert all(known(name) for name in pooled), pooled


def test_actions_as_the_model_takes_them_are_filled_at_a_takers_costs() -> None:
    side = np.where(np.arange(len(ROWS)) % 20 == 0, np.sign(EDGE), 0.0)
    pooled, account = ledger_figures(DATA, ROWS, {"edge": EDGE, "side": side}, CANDLES, 0.002)
    assert pooled["ledger_trades"] == (side != 0).sum()
    assert pooled["ledger_net_bp"] == pytest.approx(account["as_acted"]["gross_bp"] - 20, abs=0.1)


def test_rows_whose_hour_the_candles_do_not_reach_are_counted_as_unfilled() -> None:
    rows = np.arange(COUNT - 20, COUNT)
    pooled, account = ledger_figures(DATA, rows, {"edge": np.ones(20), "side": np.ones(20)}, CANDLES, 0.002)
    assert account["unfilled"] == 20 - account["following"]["trades"] > 0
    few = account["as_acted"]["trades"]
    assert pooled == {"ledger_trades": few, **{f"ledger_trades_{name}": few for name in ("taker", "maker", "futures")}}
    assert account["as_acted"]["verdict"].startswith(f"Too few to tell an edge from chance: {few} trades")


def test_a_model_that_leans_rightly_pays_and_one_that_sees_nothing_does_not() -> None:
    moved = np.concatenate(
        [
            labels.lead(np.log(frame["close"].to_numpy()), 12) - np.log(frame["close"].to_numpy())
            for frame in CANDLES.values()
        ]
    )
    knows, _ = ledger_figures(DATA, ROWS, {"edge": moved[ROWS], "side": np.zeros(len(ROWS))}, CANDLES, 0.002)
    guesses, _ = ledger_figures(DATA, ROWS, {"edge": EDGE, "side": np.zeros(len(ROWS))}, CANDLES, 0.002)
    assert knows["break_even_bp_low"] > 3
    assert guesses["break_even_bp_low"] < 1
    assert guesses["break_even_bp_high"] > -1


def test_candles_with_holes_are_left_out_and_quiet_ones_have_no_open() -> None:
    frame = CANDLES["BTCUSDT"].iloc[:5].copy()
    frame.loc[1, "high"], frame.loc[2, "volume"] = np.nan, 0.0
    tape = tape_of_frame(frame)
    assert tape.at.tolist() == features.opened_at_us(frame)[[0, 2, 3, 4]].tolist()
    assert tape.has_trades.tolist() == [True, False, True, True]
    assert tape.open[0] == round(frame["open"].iloc[0] * UNIT)


def test_evaluate_adds_it_to_the_figures_of_the_signal_and_of_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(ROWS[:0], ROWS[:0], ROWS)
    said = {"edge": EDGE, "side": np.zeros(len(ROWS))}
    for kind, has_ledger in (("signal", True), ("risk", False)):
        report = Report(kind, {"log_loss": 1.0}, said=said)
        monkeypatch.setattr(train, "judge", lambda task, model, cost, report=report: report)
        found, judged = trial._judged(train.Task(kind, DATA, split), None, CANDLES, 0.002)  # type: ignore[arg-type]
        assert judged is report
        json.dumps(found, allow_nan=False)
        assert found["pooled"]["log_loss"] == 1.0
        assert ("ledger" in found, "break_even_bp" in found["pooled"]) == (has_ledger, has_ledger)
