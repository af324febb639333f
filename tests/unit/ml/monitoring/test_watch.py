"""A change of regime and a model that breaks, planted: found, told, and answered by itself, over a real lake and a real model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from ml.data import dataset
from ml.data.feature_table.build import build
from ml.data.feature_table.reading import load
from ml.evaluation import judgement
from ml.monitoring.verdict import Act
from ml.monitoring.watch import TOLD, Watch, Watched
from ml.promotion import decisions
from ml.promotion.decisions import Change
from ml.promotion.moves import Moves
from ml.training import train
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Unavailable
from quantstream.core.time import DAY, SECOND
from quantstream.core.time import SCORED_LENGTH as STEP
from quantstream.features import opened_at_us
from quantstream.lake.store import Lake
from quantstream.messages.payloads import Event
from streaming.exchange.market.market_klines import Kline, klines, windows_between
from streaming.exchange.market.price_path import Regime
from streaming.exchange.market.synthetic import MarketSeed, SyntheticMarket
from tests.unit.ml import markets
from tests.unit.ml.conftest import SMALL
from tests.unit.ml.monitoring import watched
from tests.unit.ml.monitoring.registries import FakeRegistry

pytestmark = pytest.mark.slow
RISK, FORECAST = "quantstream-risk", "quantstream-forecast"
SIZE = 0.0012  # of the returns that the forecast expects
SYMBOLS = ("BTCUSDT", "ETHUSDT")
LEARNT = 13_200  # candles that the version knew: 45 days
CALM = 300  # candles after them that are as before
CHANGED = 312  # candles after the change within which it is found and answered


BEGINS_AT = 1_759_795_200 * SECOND  # a midnight
SIMULATED = MarketSeed(
    seed=3,
    starts_at=BEGINS_AT + 50 * DAY,
    history_days=50,
    trades_per_second=0.3,
    regime=Regime(BEGINS_AT + (LEARNT + CALM) * STEP, 4.0),  # moves are four times as large from then on
)


def market() -> dict[str, pd.DataFrame]:
    """Candles of the simulated exchange, whose regime changes."""
    exchange = SyntheticMarket(SIMULATED, list(SYMBOLS))
    windows = windows_between("5m", BEGINS_AT, BEGINS_AT + (LEARNT + CALM + CHANGED) * STEP - 1, 20_000)
    return {symbol: _frame(klines(exchange, symbol, "5m", windows, SIMULATED.starts_at)) for symbol in SYMBOLS}


def _frame(found: Sequence[Kline]) -> pd.DataFrame:
    at = pd.to_datetime([one.opened_at for one in found], unit="us", utc=True).as_unit("us")
    names = ("open", "high", "low", "close", "volume", "taker_buy_volume")
    return pd.DataFrame({"opened_at": at, **{name: [getattr(one, name) / UNIT for one in found] for name in names}})


@dataclass
class World:
    """A lake, a registry with the version that serves, and what the operators were told."""

    lake: Lake
    registry: FakeRegistry
    frames: dict[str, pd.DataFrame]
    said: dict[str, Any]  # by symbol: what the version says of each candle after those it knew
    told: list[Event] = field(default_factory=list)
    written: int = 0  # candles after those it knew that are in the lake

    def live(self, until: int, version: str = "1", risk: float | None = None) -> None:
        """Let the market run up to so many candles after those that the version knew; every one is scored."""
        for symbol, frame in self.frames.items():
            part = slice(LEARNT + self.written, LEARNT + until)
            markets.write_candles(self.lake, symbol, frame.iloc[part])
            shown = (
                self.said[symbol][self.written : until] * 100 if risk is None else np.full(until - self.written, risk)
            )
            scores = [
                watched.score(symbol, int(at), SIZE, {RISK: version, FORECAST: "1"}, risk=float(one))
                for at, one in zip(opened_at_us(frame)[part], shown, strict=True)
            ]
            watched.write_scores(self.lake, scores)
        self.written = until

    @property
    def clock(self) -> datetime:
        """The newest candle's close."""
        return self.frames["BTCUSDT"]["opened_at"].iloc[LEARNT + self.written - 1].to_pydatetime() + timedelta(
            minutes=5
        )

    def began(self, after: int) -> datetime:
        """When the candle opened that is so many after those that the version knew."""
        return self.frames["BTCUSDT"]["opened_at"].iloc[LEARNT + after].to_pydatetime()

    def look(self) -> Watched:
        registry: Any = self.registry
        moves = Moves(registry, self.lake, "models_monitor", now=lambda: self.clock)
        return Watch(self.lake, registry, moves, self.tell, lambda: self.clock).look()

    def tell(self, events: Sequence[Event]) -> None:
        self.told += events


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a training leaves: the lake's features, the model, its tags and reports; and what it says of later candles."""
    folder = tmp_path_factory.mktemp("learnt")
    lake = Lake(str(folder / "lake"))
    frames = market()
    for symbol, frame in frames.items():
        markets.write_candles(lake, symbol, frame.iloc[:LEARNT])
    version = build(lake, SYMBOLS).version
    data, lineage = load(lake, folder, version)
    task = train.prepare("risk", data)
    model = train.fit(task, SMALL)
    reports = {"evaluation": train.judge(task, model).fields(), "lineage": lineage.fields()}
    whole = dataset.build(frames)
    said = {}
    for i, symbol in enumerate(whole.symbols):
        rows = np.flatnonzero(whole.symbol == i)[LEARNT:]
        said[symbol] = judgement.serve(model, whole, rows)
    return folder / "lake", frames, model, lineage.tags(), reports, said


@pytest.fixture
def world(learnt: Any, tmp_path: Path) -> World:
    folder, frames, model, tags, reports, said = learnt
    shutil.copytree(folder, tmp_path / "lake")
    registry = FakeRegistry()
    registry.put(RISK, "1", model, tags, json.loads(json.dumps(reports)))
    registry.put(FORECAST, "1", watched.SteadyForecast(SIZE), tags, json.loads(json.dumps(reports)))
    registry.aliases = {(RISK, "champion"): "1", (FORECAST, "champion"): "1"}
    return World(Lake(str(tmp_path / "lake")), registry, frames, said)


def test_a_change_of_regime_is_found_and_a_training_wanted_within_the_stated_candles(world: World) -> None:
    world.live(CALM)
    calm = world.look()
    assert ({one.act for one in calm.verdicts.values()}, world.told) == ({Act.NOTHING}, [])
    for after in (96, 192, 288, CHANGED):
        world.live(CALM + after)
        world.look()
    for model, found in ((RISK, {"drift"}), (FORECAST, {"loss", "drift"})):
        story = decisions.decisions_of(world.lake, model)
        assert {(one.change, one.version, one.by) for one in story} == {(Change.WANTED, "1", "models_monitor")}
        assert story[0].decided_at - world.began(CALM) <= timedelta(minutes=5 * CHANGED)
        reasons = [json.loads(one.evidence)["found"] for one in story]
        assert {reason for one in reasons for reason in one} == found
        assert len(story) <= len(found)  # each is told once, and not once an hour
        told = [event.kind for event in world.told if event.text.startswith(model)]
        assert told == [TOLD[reason] for one in reasons for reason in one]
        degraded = world.lake.read("live_figures").filter(pc.field("model") == model).to_pylist()[-1]
        assert degraded["loss"] > 2 * degraded["promised"]
    assert world.look().wanted == ""
    kept = {name: evidence(world, name) for name in (RISK, FORECAST)}
    assert all(max(one) >= 20 for one in kept.values())
    shutil.rmtree(Path(world.lake.url) / "drift_blocks")
    world.lake = Lake(world.lake.url)
    world.look()
    assert {name: evidence(world, name) for name in (RISK, FORECAST)} == kept  # what is lost is computed anew


def evidence(world: World, name: str) -> list[float]:
    """The capital after each live block, as the lake keeps it."""
    rows = world.lake.read("drift_blocks").filter(pc.field("model") == name).to_pylist()
    live = sorted((one for one in rows if not one["is_reference"]), key=lambda one: one["block"])
    assert len({one["block"] for one in rows}) == len(rows)
    return [one["capital"] for one in live]


def test_a_model_that_breaks_gives_way_to_the_one_before_and_does_not_come_back(world: World) -> None:
    world.registry.kept[RISK, "2"] = world.registry.kept[RISK, "1"]
    world.registry.aliases |= {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    world.live(CALM, version="2", risk=95.0)
    looked = world.look()
    assert looked.verdicts[RISK].act is Act.ROLL_BACK, looked.sentences
    assert world.registry.champions()[RISK] == "1"
    (back,) = decisions.decisions_of(world.lake, RISK)
    assert (back.change, back.version, back.before) == (Change.ROLLED_BACK, "1", "2")
    assert json.loads(back.evidence)["previous"]["low"] > 0
    assert [event.kind for event in world.told] == ["model_worse"]  # its inputs are as ever
    assert world.look().verdicts[RISK].act is Act.NOTHING


def test_a_version_that_promised_nothing_is_said_to_and_judged_by_no_loss(world: World) -> None:
    world.registry.kept[RISK, "1"][2].clear()
    world.live(CALM, risk=95.0)
    looked = world.look()
    assert looked.verdicts[RISK].act is Act.NOTHING
    assert "does not say what it was judged on" in looked.sentences[RISK]


def test_a_broker_that_is_away_holds_no_way_back_up_and_the_look_is_red(world: World) -> None:
    def away(events: Sequence[Event]) -> None:
        raise Unavailable("the broker is away")

    world.registry.kept[RISK, "2"] = world.registry.kept[RISK, "1"]
    world.registry.aliases |= {(RISK, "champion"): "2", (RISK, "previous"): "1"}
    world.live(CALM, version="2", risk=95.0)
    world.tell = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        world.look()
    assert world.registry.champions()[RISK] == "1"
    assert world.lake.read("live_figures").num_rows == 2
