"""The online correction follows the history: whatever was edited meanwhile, going on equals a restart to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.serving.feature_rows import Inputs
from ml.serving.loaded import LoadedModel
from ml.serving.outcome_memory import HISTORY, Memory
from ml.serving.scoring import ModelSet
from ml.serving.warming import Warming
from quantstream import features
from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from streaming.score.candle_history import CandleHistory
from tests.unit.ml import markets
from tests.unit.ml.serving.test_outcome_memory import Guess

pytestmark = pytest.mark.slow
STEP = features.STEP_US
LOADED = LoadedModel("quantstream-risk", "1", features.FEATURE_HASH, Guess())


@pytest.fixture(scope="module")
def market() -> list[Candle]:
    """More candles than any history holds."""
    frame = markets.candles(HISTORY + 40, seed=5)
    numbers = {name: np.rint(frame[name].to_numpy() * UNIT).astype(np.int64).tolist() for name in features.COLUMNS}
    rows = zip(features.opened_at_us(frame).tolist(), *numbers.values(), strict=True)
    return [
        Candle(
            "A1",
            "5m",
            at,
            first,
            max(first, high, last),
            min(first, low, last),
            last,
            volume,
            UNIT,
            1,
            taken,
            1,
            1,
            1,
            True,
        )
        for at, first, high, low, last, volume, taken in rows
    ]


def revised(candle: Candle, revision: int, factor: float) -> Candle:
    prices = [int(getattr(candle, name) * factor) for name in ("open", "high", "low", "close")]
    first, high, low, last = prices
    return Candle(
        "A1",
        "5m",
        candle.opened_at,
        first,
        high,
        low,
        last,
        candle.volume,
        UNIT,
        1,
        candle.taker_buy_volume,
        1,
        1,
        1,
        True,
        revision,
    )


def frame_of(candles: list[Candle]) -> pd.DataFrame:
    columns: dict[str, Any] = {name: [getattr(one, name) / UNIT for one in candles] for name in features.COLUMNS}
    at = pd.to_datetime([one.opened_at for one in candles], unit="us", utc=True).as_unit("us")
    return pd.DataFrame({"opened_at": at, **columns, "revision": [one.revision for one in candles]})


def predicted(memory: Memory, inputs: Inputs, history: CandleHistory) -> float:
    """What the stage says of the newest candle, corrected."""
    series = history.series()
    found = inputs.of({"A1": series}, 1)["A1"]
    assert isinstance(found, np.ndarray)
    row = found[:, [features.NAMES.index(name) for name in LOADED.model.names]]
    return float(memory.adapt(LOADED, {"A1": series}, LOADED.model.predict(row[None]))[0])


def restarted(truth: dict[int, Candle]) -> float:
    """The same from nothing but what is stored now."""
    candles = [truth[at] for at in sorted(truth)]
    history = CandleHistory("A1", "5m", HISTORY)
    history.add(candles[-1])
    history.fill(frame_of(candles[:-1]))
    return predicted(Memory(), Inputs(), history)


def test_a_correction_of_the_history_reaches_what_is_said_next(market: list[Candle]) -> None:
    history, memory, inputs = CandleHistory("A1", "5m", HISTORY), Memory(), Inputs()
    truth = {one.opened_at: one for one in market[:HISTORY]}
    for one in market[:HISTORY]:
        history.add(one)
    before = predicted(memory, inputs, history)
    for place in range(HISTORY - 3000, HISTORY - 20):  # ten days that were wrong
        truth[market[place].opened_at] = fixed = revised(market[place], 1, 1 + 0.02 * (place % 7 == 0))
        history.add(fixed)
    warm = Warming(lambda: ModelSet(risk=LOADED), memory)
    assert not memory.is_ready([LOADED], "A1", history.series())
    assert warm("A1", history.series())  # between candles, so that none waits for it
    assert memory.is_ready([LOADED], "A1", history.series())
    newest = market[HISTORY]
    truth[newest.opened_at] = newest
    history.add(newest)
    now = predicted(memory, inputs, history)
    assert now == restarted(truth)
    assert abs(now - before) > 0.01


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_edited_going_on_equals_a_restart(market: list[Candle], seed: int) -> None:
    rng = np.random.default_rng(seed)
    begun = HISTORY - int(rng.integers(0, 400))
    history, memory, inputs = CandleHistory("A1", "5m", HISTORY), Memory(), Inputs()
    left_out = set(rng.integers(begun - 500, begun - 1, 2).tolist()) if seed % 2 else set()
    truth = {one.opened_at: one for place, one in enumerate(market[:begun]) if place not in left_out}
    for one in truth.values():
        history.add(one)
    predicted(memory, inputs, history)
    coming = iter(market[begun:])
    for _ in range(8):
        what = rng.choice(["append", "revise", "older", "late", "fill"])
        place = int(rng.integers(begun - 4000, begun - 1))
        if what == "append":
            one = next(coming)
        elif what in ("revise", "older"):
            known = truth.get(market[place].opened_at, market[place])
            revision = known.revision + (1 if what == "revise" else -1)
            one = revised(market[place], max(revision, 0), 1 + float(rng.normal(0, 0.02)))
            if what == "older" and known.revision == 0:
                continue
        elif what == "late" and left_out:
            one = market[left_out.pop()]
        else:
            found = {
                at: revised(known, known.revision + 1, 1.01) for at, known in list(truth.items())[place : place + 3]
            }
            truth |= found
            history.fill(frame_of(list(found.values())))
            continue
        if one.revision >= truth.get(one.opened_at, one).revision:
            truth[one.opened_at] = one
        history.add(one)
        if what == "append":
            assert predicted(memory, inputs, history) == restarted(truth)
    newest = next(coming)
    truth[newest.opened_at] = newest
    history.add(newest)
    assert predicted(memory, inputs, history) == restarted(truth)


def test_a_gap_at_the_beginning_of_what_a_restart_reads_changes_nothing(market: list[Candle]) -> None:
    gap = range(20, 32)  # candles: the windows of the oldest predictions that count begin within it
    history, memory, inputs = CandleHistory("A1", "5m", HISTORY), Memory(), Inputs()
    truth = {one.opened_at: one for place, one in enumerate(market[: HISTORY + 10]) if place not in gap}
    for one in truth.values():
        history.add(one)
    predicted(memory, inputs, history)
    for one in market[HISTORY + 10 : HISTORY + 40]:
        truth[one.opened_at] = one
        history.add(one)
        assert predicted(memory, inputs, history) == restarted(truth)
