"""The trial on folders of candles: fits on one, judges on the other, and says what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ml import trial
from quantstream.errors import DataRejected, Misconfigured
from tests.ml import markets

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
    assert "auc_har" in trial.table({"risk": found})


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
