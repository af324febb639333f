"""Scores joined with what came, over a real lake: each once, as soon as it is known, by the labels that models learn from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ml.data import labels
from ml.monitoring.joining import join, newest
from ml.monitoring.outcomes import LABELS
from quantstream.features import HOUR, opened_at_us
from quantstream.lake.schemas import BY_MONTH, SCHEMAS
from quantstream.lake.store import Lake
from streaming.sink.table_rows import score_row, table_of
from tests.unit.ml import markets
from tests.unit.ml.monitoring import watched

SYMBOL = "BTCUSDT"
WARM, LIVE = 8_700, 60  # candles of history, and such as were scored
NOW = datetime(2024, 2, 1, tzinfo=UTC)
CANDLES = markets.candles(WARM + LIVE, 3)
KNOWN = LIVE - HOUR


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    markets.write_candles(lake, SYMBOL, CANDLES)
    watched.write_scores(lake, watched.scored(SYMBOL, CANDLES.iloc[WARM:]))
    return lake


def outcomes(lake: Lake) -> list[dict[str, Any]]:
    return newest(lake.read("outcomes")).to_pylist()


def test_each_model_s_part_is_joined_once_its_outcome_is_known_with_the_labels_that_models_learn_from(
    lake: Lake,
) -> None:
    done = join(lake, NOW)
    assert (done.symbols, done.rows, done.failed) == (1, 3 * KNOWN, {})
    truth = labels.compute(CANDLES, names=LABELS).set_axis(opened_at_us(CANDLES))
    for row in outcomes(lake):
        at = int(row["opened_at"].timestamp()) * 1_000_000
        came = {name: truth.at[at, name] for name, _ in row["actual"]}
        assert dict(row["actual"]) == pytest.approx(came, abs=1e-8)  # the lake holds eight decimals
        assert (row["role"], row["version"], row["known_at"]) == ("champion", "1", NOW)
    assert {row["model"] for row in outcomes(lake)} == set(watched.VERSIONS)


def test_the_loss_is_pinball_in_bp_log_loss_and_brier(lake: Lake) -> None:
    join(lake, NOW)
    for row in outcomes(lake):
        measures, came = dict(row["measures"]), dict(row["actual"])
        if row["model"] == "quantstream-forecast":
            assert row["loss"] == pytest.approx(np.mean([measures[f"pinball_{h}_bp"] for h in ("5m", "15m", "1h")]))
            assert measures["coverage_90_1h"] == float(abs(came["return_1h"]) <= 0.001 * np.sqrt(12) * 1.645)
        if row["model"] == "quantstream-signal":
            assert row["loss"] == pytest.approx(-np.log(0.6 if came["action"] == 1 else 0.2))
            assert measures["hit"] == float(came["action"] == 1)
        if row["model"] == "quantstream-risk":
            assert row["loss"] == pytest.approx((0.1 - came["abnormal"]) ** 2)


def test_the_usual_direction_is_held_against_where_the_hour_ended(lake: Lake) -> None:
    join(lake, NOW)
    truth = labels.compute(CANDLES, names=LABELS).set_axis(opened_at_us(CANDLES))
    seen = set()
    for row in outcomes(lake):
        if row["model"] == "quantstream-signal":
            came = truth.loc[int(row["opened_at"].timestamp()) * 1_000_000]
            rose = came["action"] == 2 or (came["action"] == 1 and came["return_1h"] > 0)
            measures = dict(row["measures"])
            assert measures["brier_usual"] == pytest.approx((0.4 - rose) ** 2)
            assert measures["hit_usual"] == float(not rose)
            assert set(dict(row["actual"])) == {"action"}
            seen.add(rose)
    assert seen == {True, False}


def test_scores_of_before_the_direction_was_said_are_joined_in_a_lake_of_before(tmp_path: Path) -> None:
    lake, scores = Lake(str(tmp_path / "lake")), watched.scored(SYMBOL, CANDLES.iloc[WARM:])
    markets.write_candles(lake, SYMBOL, CANDLES)
    absent = ("usually_up", "tail_lean", "expected_return", "round_trip_cost")
    schema = pa.schema([each for each in SCHEMAS["scores"] if each.name not in absent])
    rows = table_of("scores", [score_row(one) for one in scores]).append_column("month", pa.array(["2024-01"] * LIVE))
    rows = rows.append_column("date", rows["opened_at"].cast(pa.date32())).select(schema.names).cast(schema)
    write_deltalake(f"{lake.url}/scores", rows, partition_by=BY_MONTH)
    done = join(lake, NOW)
    assert (done.rows, done.failed) == (3 * KNOWN, {})
    of_signal = [dict(row["measures"]) for row in outcomes(lake) if row["model"] == "quantstream-signal"]
    assert all(np.isnan(one["brier_usual"]) and np.isnan(one["hit_usual"]) for one in of_signal)


def test_a_second_run_reads_nothing_and_a_later_one_only_what_is_new(lake: Lake) -> None:
    join(lake, NOW)
    assert (join(lake, NOW).months, join(lake, NOW).rows) == (0, 0)
    more = markets.candles(WARM + LIVE + 5, 3)
    more.iloc[: WARM + LIVE] = CANDLES
    markets.write_candles(lake, SYMBOL, more.iloc[WARM + LIVE :])
    watched.write_scores(lake, watched.scored(SYMBOL, more.iloc[WARM + LIVE :]))
    asked = []
    read = Lake.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "quantstream.lake.reads.Reads.read",
            lambda self, name, symbols=None, start=None, *rest, **more: (
                asked.append((name, start)) or read(self, name, symbols, start, *rest, **more)
            ),
        )
        assert join(lake, NOW).rows == 3 * 5
    first_unknown = CANDLES["opened_at"].iloc[WARM + KNOWN].to_pydatetime()
    assert {start for name, start in asked if name == "scores"} == {first_unknown}


def test_a_corrected_candle_makes_a_newer_row_and_no_other_is_written_again(lake: Lake) -> None:
    join(lake, NOW)
    before = outcomes(lake)
    moved = CANDLES.iloc[[WARM + 20]].copy()
    for name in ("high", "close"):
        moved[name] *= 1.01
    write_correction(lake, moved)
    later = NOW + timedelta(hours=1)
    done = join(lake, later)
    assert 0 < done.rows < 3 * KNOWN
    after = outcomes(lake)
    assert len(after) == len(before)
    changed = [
        new
        for old, new in zip(before, after, strict=True)
        if (old["actual"], old["loss"]) != (new["actual"], new["loss"])
    ]
    assert len(changed) == done.rows
    assert {row["known_at"] for row in changed} == {later}
    truth = labels.compute(pd.concat([CANDLES.iloc[: WARM + 20], moved, CANDLES.iloc[WARM + 21 :]]), names=LABELS)
    at = [int(row["opened_at"].timestamp()) * 1_000_000 for row in after if row["model"] == "quantstream-forecast"]
    came = [dict(row["actual"])["return_1h"] for row in after if row["model"] == "quantstream-forecast"]
    known = truth.set_axis(opened_at_us(CANDLES)).loc[at, "return_1h"]
    np.testing.assert_allclose(came, known, atol=1e-8)


def test_a_gap_filled_later_counts_by_the_next_day(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    gap = CANDLES.index[WARM + 20]
    markets.write_candles(lake, SYMBOL, CANDLES.drop(gap))
    watched.write_scores(lake, watched.scored(SYMBOL, CANDLES.iloc[WARM:].drop(gap)))
    held_back = 3 * KNOWN - join(lake, NOW).rows
    assert held_back > 0
    markets.write_candles(lake, SYMBOL, CANDLES.loc[[gap]])
    assert join(lake, NOW + timedelta(days=1)).rows >= held_back - 3


def test_a_challenger_s_scores_are_its_own_rows(lake: Lake) -> None:
    shadow = watched.scored(SYMBOL, CANDLES.iloc[WARM:], 0.002, versions={"quantstream-risk": "2"})
    watched.write_scores(lake, shadow, "shadow_scores")
    join(lake, NOW)
    found = [(row["model"], row["version"], row["role"]) for row in outcomes(lake)]
    assert found.count(("quantstream-risk", "2", "challenger")) == KNOWN
    assert found.count(("quantstream-risk", "1", "champion")) == KNOWN
    assert ("quantstream-forecast", "2", "challenger") not in found


def test_of_two_scores_of_a_candle_the_one_that_was_shown_counts(lake: Lake) -> None:
    again = watched.scored(SYMBOL, CANDLES.iloc[WARM:], risk=90.0, revision=1, scored_after=10**9)
    watched.write_scores(lake, again)
    join(lake, NOW)
    assert {row["revision"] for row in outcomes(lake)} == {0}


def test_nothing_scored_is_no_failure(tmp_path: Path) -> None:
    assert str(join(Lake(str(tmp_path / "lake")), NOW)) == "0 outcomes of 0 symbols joined, 0 months read"


def write_correction(lake: Lake, candle: pd.DataFrame) -> None:
    """Put a second revision of candles into a lake."""
    import pyarrow as pa

    beside = Lake(f"{lake.url}-beside")
    markets.write_candles(beside, SYMBOL, candle)
    rows = beside.read("candles")
    rows = rows.set_column(rows.column_names.index("revision"), "revision", pa.array([1] * rows.num_rows, pa.int32()))
    lake.append("candles", rows)


def test_a_month_that_is_over_is_joined_to_its_end_and_then_left_alone(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    ends = 31 * 288  # of January
    frame = markets.candles(ends + 24, 3)
    for start, stop in ((0, ends - 24), (ends - 24, ends), (ends, ends + 12), (ends + 12, ends + 24)):
        markets.write_candles(lake, SYMBOL, frame.iloc[start:stop])
        watched.write_scores(lake, watched.scored(SYMBOL, frame.iloc[max(start, ends - 48) : stop]))
        join(lake, datetime(2024, 2, 1, tzinfo=UTC))
    assert len(outcomes(lake)) == 3 * (48 + 12)
    more = markets.candles(ends + 26, 3)
    for at, months in ((ends + 24, 2), (ends + 25, 1)):  # once more as a whole, days later, and never again
        markets.write_candles(lake, SYMBOL, more.iloc[at : at + 1])
        watched.write_scores(lake, watched.scored(SYMBOL, more.iloc[at : at + 1]))
        assert join(lake, datetime(2024, 2, 4, tzinfo=UTC)).months == months
