"""The trial on folders of candles: fits on one, judges on the other, and says what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.evaluation import evaluation_report
from ml.looks import table
from ml.looks.table import record_of
from ml.models import base
from ml.models.risk import RiskOptions
from ml.training import train, trial
from quantstream import features
from quantstream.core.errors import DataRejected, Misconfigured
from quantstream.core.time import micros
from quantstream.lake.store import Lake
from tests.unit.ml import markets

pytestmark = pytest.mark.slow

CUT = 12_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A first folder of two symbols, and a second that goes on after a warm-up, with one more symbol."""
    early, late = tmp_path_factory.mktemp("early"), tmp_path_factory.mktemp("late")
    for seed, symbol in enumerate(("AUSDT", "BUSDT", "NEWUSDT")):
        frame = markets.candles(CUT + 2000, seed).rename(columns={"opened_at": "open_time"})
        if symbol != "NEWUSDT":
            frame.iloc[:CUT].to_parquet(early / f"{symbol}_5m.parquet")
        frame.iloc[CUT - 10_000 :].to_parquet(late / f"{symbol}_5m.parquet")
    return early, late


def test_rows_after_the_first_folder_are_judged_and_no_others(folders: tuple[Path, Path]) -> None:
    found = trial.run(*folders, ["risk"])["risk"]
    end = (markets.START + pd.Timedelta(minutes=5 * CUT)).value // 1000
    assert found["judged_from_us"] > end
    assert set(found["symbols"]) == {"AUSDT", "BUSDT", "NEWUSDT"}
    assert 0.5 < found["pooled"]["auc"] < 1
    whole = trial.table({"risk": found, "seconds": {"fit": 1.0, "risk": 1.0}})
    assert "auc_har" in whole


def test_value_at_risk_is_tried_after_the_first_folder_beside_har_which_is_a_look(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path))
    result = trial.run(*folders, ["value_at_risk"], record=lambda looks: table.record(lambda: lake, looks))
    found = result["value_at_risk"]
    (look,) = record_of(lake).lines
    assert (look.kind, look.symbols, look.rows) == ("value_at_risk", ("AUSDT", "BUSDT", "NEWUSDT"), 3 * 2000)
    assert micros(look.first) == (markets.START + pd.Timedelta(minutes=5 * CUT)).value // 1000
    assert found["looks"]["hash"] == look.hash
    assert found["rows"] > 0
    assert {"qlike_skill_1h", "qlike_skill_1d_low", "exceeded_99_long_1h", "clustering_95_short_1h"} <= set(
        found["pooled"]
    )
    assert set(found["symbols"]) == set(found["exceeded"])
    assert f"value_at_risk: {found['rows']:,} rows judged" in trial.table(result)


def test_what_is_wrong_with_a_folder_is_said_in_a_sentence(folders: tuple[Path, Path], tmp_path: Path) -> None:
    early, _ = folders
    with pytest.raises(Misconfigured, match=r"holds no SYMBOL_5m\.parquet"):
        trial.run(tmp_path, early)
    with pytest.raises(Misconfigured, match="'anomaly' cannot be judged on candles"):
        trial.run(early, early, ["anomaly"])
    with pytest.raises(DataRejected, match="go on after the end of the first"):
        trial.run(early, early, ["risk"])
    (tmp_path / "X_5m.parquet").write_text("no")
    with pytest.raises(Misconfigured, match="is not a Parquet file"):
        trial.run(tmp_path, early)


def _written(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_parquet(folder / "X_5m.parquet")
    return folder


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "time", "zoned", "text"])
def test_opening_times_are_read_in_any_unit(unit: str, tmp_path: Path) -> None:
    frame = markets.candles(50)
    times = frame["opened_at"]
    plain = times.dt.tz_localize(None)
    written = {"time": plain, "zoned": times, "text": times.astype(str)}.get(unit)
    if written is None:
        written = plain.astype(f"datetime64[{unit}]").astype("int64")
    odd = frame.drop(columns=["opened_at", "taker_buy_volume"]).assign(open_time=written, source="x")
    read = trial.read_folder(_written(tmp_path, odd))["X"]
    assert read["opened_at"].tolist() == times.tolist()
    assert set(read.columns) == {"opened_at", "open", "high", "low", "close", "volume"}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda frame: frame.drop(columns="volume"), "lacks volume"),
        (lambda frame: frame.drop(columns="opened_at"), "lacks open_time"),
        (lambda frame: frame.assign(close="dear"), "holds what is no number"),
        (lambda frame: frame.iloc[:0], "holds no candles"),
        (
            lambda frame: frame.assign(opened_at=frame["opened_at"] + pd.Timedelta(seconds=9)),
            "50 candles that do not open",
        ),
    ],
)
def test_a_file_that_does_not_do_is_refused_in_a_sentence(spoil: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=reason):
        trial.read_folder(_written(tmp_path, spoil(markets.candles(50))))  # type: ignore[operator]


def test_rows_out_of_order_and_twice_are_put_right(tmp_path: Path) -> None:
    frame = markets.candles(50)
    mixed = pd.concat([frame.iloc[::-1], frame.iloc[10:20]])
    assert trial.read_folder(_written(tmp_path, mixed))["X"]["close"].tolist() == frame["close"].tolist()


def test_walk_forward_fits_anew_before_each_part_says_what_each_gave_and_counts_as_one_look(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fitted: list[train.Task] = []
    small = train.Options(risk=RiskOptions(rounds=10))

    def fit(task: train.Task) -> base.Model:
        fitted.append(task)
        return whole(task, small)

    whole = train.fit
    monkeypatch.setattr(train, "fit", fit)
    lake = Lake(str(tmp_path))
    whole_of = trial.run(*folders, ["risk"], folds=2, record=lambda looks: table.record(lambda: lake, looks))
    found = whole_of["risk"]
    assert len(fitted) == len(found["folds"]) == 2
    assert found["folds"][1] == found["pooled"]
    assert found["folds"][0] != found["folds"][1]
    early, late = (task.data.opened_at[task.split.judge] for task in fitted)
    assert early.max() < late.min() == found["judged_from_us"]
    for task in fitted:
        known_at = (
            task.data.opened_at[task.split.calibrate].max() + 13 * features.STEP_US
        )  # its label ends an hour later
        assert known_at <= task.data.opened_at[task.split.judge].min() - 11 * features.STEP_US
    assert {task.data.symbols[i] for i in fitted[1].data.symbol[fitted[1].split.fit]} >= {"AUSDT", "BUSDT"}
    (look,) = record_of(lake).lines
    judged = np.concatenate([early, late])
    assert (micros(look.first), micros(look.last), look.rows) == (judged.min(), judged.max(), len(judged))
    assert look.symbols == ("AUSDT", "BUSDT", "NEWUSDT")
    assert json.loads(look.settings)["fitted_on"] == str(folders[0])
    assert (found["looks"]["number"], found["looks"]["tried"], found["looks"]["hash"]) == (1, 1, look.hash)
    sentence = "This is look number 1 at these held-out rows or some of them; 1 candidate was tried"
    assert sentence in trial.table(whole_of)
    assert sentence in evaluation_report.pages(whole_of)
