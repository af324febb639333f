"""The card of what is held: which day of which symbol and table, since when, by whom and why; no table is made by looking."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dashboard.quality.quarantine_card import HeldDays, quarantine_body, quarantine_tiles
from quantstream.lake.quarantine import BY_HAND, GATE, HELD, RELEASED, Change, note
from quantstream.lake.store import Lake

AT = datetime(2026, 3, 1, 0, 35, tzinfo=UTC)
DAY = date(2026, 2, 4)


def change(symbol: str = "BTCUSDT", **given: object) -> Change:
    said = {"day": DAY, "table": "candles", "expectation": "expect_day_to_be_whole", "change": HELD, "reason": "2 rows",
            "changed_at": AT, "by": GATE}  # fmt: skip
    return Change(symbol=symbol, **{**said, **given})  # type: ignore[arg-type]


def read(lake: Lake) -> HeldDays:
    held = HeldDays(lake)
    held.turn()
    return held


def test_a_lake_without_quarantine_says_so_and_is_left_alone(tmp_path: Path) -> None:
    held = read(Lake(str(tmp_path / "lake"), may_create=False))
    assert held.partitions == []
    assert "no day was ever in quarantine" in quarantine_body(held.partitions, held.was_filled)
    assert not (tmp_path / "lake").exists()


def test_each_day_is_one_row_with_since_when_by_whom_and_why(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    later = AT + timedelta(hours=1)
    note(
        lake,
        [
            change(),
            change(expectation=BY_HAND, by="<ann>", reason="odd", changed_at=later),
            change("ETHUSDT", table="scores", day=DAY + timedelta(days=1), reason="risk <101>"),
        ],
    )
    held = read(lake)
    body = quarantine_body(held.partitions, held.was_filled)
    assert body.count('data-testid="row"') == 2
    first, second = body.split('data-testid="row"')[1:]
    assert "2026-02-05" in first  # the newest day first
    assert "<td>scores</td><td>2026-03-01 00:35</td><td>gate</td><td>risk &lt;101&gt;</td>" in first
    assert "<td>candles</td><td>2026-03-01 00:35</td><td>gate, &lt;ann&gt;</td><td>2 rows (and 1 more)</td>" in second
    assert 'href="data_docs?page=candles/BTCUSDT/2026-02-04"' in second
    tiles = {tile.label: (tile.value, tile.tone) for tile in quarantine_tiles(held.partitions or [])}
    assert tiles == {"Trades": ("0", ""), "Candles": ("1", "warn"), "Features": ("0", ""), "Scores": ("1", "warn")}


def test_what_was_released_is_gone_from_the_card(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    note(lake, [change(), change(change=RELEASED, reason="it was right", changed_at=AT + timedelta(hours=1))])
    held = read(lake)
    assert held.partitions == []
    assert "no day is in quarantine" in quarantine_body(held.partitions, held.was_filled)


def test_many_days_are_cut_and_the_rest_is_named(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    note(lake, [change(day=DAY + timedelta(days=one)) for one in range(43)])
    body = quarantine_body(read(lake).partitions, True)
    assert body.count('data-testid="row"') == 40
    assert "and 3 more: quantstream quarantine list" in body
