"""Real candles as files of the exchange's public archive: with headers or none, in ms or µs, months or days."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pandas as pd

FIVE = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
PLAIN = ("open", "high", "low", "close", "volume")
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
WHOLE = ["at", *PLAIN, "closed", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"]
NAMES_2025 = {
    "quote_asset_volume": "quote_volume",
    "number_of_trades": "trade_count",
    "taker_buy_base_asset_volume": "taker_buy_volume",
    "taker_buy_quote_asset_volume": "taker_buy_quote_volume",
}


def five_columns(data: Path, symbol: str, interval: str = "5m") -> pd.DataFrame:
    """Return the candles of 2021 to 2024, whose other columns nobody kept."""
    frame = pd.read_parquet(data / f"klines_{interval}" / f"{symbol}_{interval}.parquet")
    frame = frame.rename(columns={"timestamp": "open_time"}).drop_duplicates("open_time").sort_values("open_time")
    return frame.assign(quote_volume=0.0, trade_count=1, taker_buy_volume=0.0, taker_buy_quote_volume=0.0)


def twelve_columns(data: Path, symbol: str) -> pd.DataFrame:
    """Return the candles of August and September 2025, with all columns."""
    path = data / "klines_5m_12col" / f"{symbol}_5m_2025-08-19_09-21.csv.gz"
    return pd.read_csv(path, parse_dates=["open_time"]).rename(columns=NAMES_2025).sort_values("open_time")


def lay_out(folder: Path, symbol: str, frame: pd.DataFrame, has_header: bool, interval: str = "5m") -> None:
    """Write the files of months that hold a frame's candles, as the archive has them; spot is in µs since 2025."""
    at = frame["open_time"].astype("datetime64[ms]").astype("int64")
    length = pd.Timedelta(interval.replace("m", "min")) // pd.Timedelta("1ms")
    unit = (at >= 1_735_689_600_000).map({True: 1000, False: 1})
    cells = frame.assign(at=at * unit, closed=(at + length) * unit - 1, trade_count=frame["trade_count"].astype(int))
    cells["ignore"] = 0
    for month, rows in cells.groupby(frame["open_time"].dt.strftime("%Y-%m")):
        path = folder / "spot" / "monthly" / "klines" / symbol / interval / f"{symbol}-{interval}-{month}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = rows[WHOLE].to_csv(header=False, index=False, float_format="%.8f")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.name.replace(".zip", ".csv"), (HEADER if has_header else "") + text)
        path.write_bytes(packed.getvalue())
