"""Replays from any offset make the live candles; what differs is found, and only what is whole becomes a revision."""

from __future__ import annotations

import msgspec
import pytest

from quantstream.binance.wire import heartbeat_event, trade_event
from quantstream.core.candle import NO_TRADE_ID, Candle
from quantstream.core.errors import Misconfigured
from quantstream.core.moments import moment_text, parse_moment
from quantstream.core.time import SECOND
from quantstream.kafka.ranges import parse_offset
from streaming.reconcile.commands.replay_command import replay_lines
from streaming.reconcile.corrections import Known, corrected, key_of
from streaming.reconcile.repair import find_corrections
from streaming.reconcile.replay import Replay, ReplayDifference
from tests.unit.streaming.lakes import MIDNIGHT, STEP, SYMBOL, T0, live_candles, walk

TRADES = walk()
CANDLES = live_candles(TRADES)
LOG = [
    heartbeat_event(SYMBOL, T0 - 1),
    *(trade_event(trade) for trade in TRADES),
    heartbeat_event(SYMBOL, T0 + 12 * STEP + SECOND),
]
replace = msgspec.structs.replace


def run(records: list[bytes], from_first: bool = False) -> Replay:
    replaying = Replay(("5m",), SECOND // 2, None, frozenset({0} if from_first else ()))
    for raw in records:
        replaying.take(0, SYMBOL, raw)
    return replaying


def known(candles: list[Candle]) -> dict[tuple[str, str, int], Known]:
    return {key_of(candle): Known(candle, 0) for candle in candles}


def test_the_whole_log_makes_the_live_candles_byte_for_byte() -> None:
    replaying = run(LOG, from_first=True)
    assert list(replaying.candles.values()) == CANDLES
    assert replaying.compare(known(CANDLES)) == []
    assert (replaying.result.equal, replaying.result.candles, replaying.result.exit_code) == (12, 12, 0)


def test_from_every_offset_what_lies_wholly_in_the_range_is_the_live_candle() -> None:
    live = {candle.opened_at: candle for candle in CANDLES}
    for start in range(0, len(LOG), 7):
        replaying = run(LOG[start:])
        whole = [candle for candle in replaying.candles.values() if not replaying.is_partial(candle)]
        assert whole == [live[candle.opened_at] for candle in whole]
        first = TRADES[max(0, start - 1)].traded_at if start <= len(TRADES) else T0 + 12 * STEP
        expected = [at for at in live if at > first] if start else list(live)
        assert [candle.opened_at for candle in whole] == expected


def test_a_window_that_began_before_the_range_is_said_to_be_partial_and_never_published() -> None:
    replaying = run(LOG[20:])
    assert replaying.compare(known(CANDLES)) == []
    assert replaying.result.partial_windows == ["BTCUSDT 5m 2024-08-08T23:45:00Z"]
    assert (replaying.result.partial, replaying.result.equal) == (1, 11)


def test_a_differing_candle_becomes_the_next_correction_of_the_same_window() -> None:
    wrong = replace(CANDLES[5], volume=CANDLES[5].volume + 1, revision=2)
    replaying = run(LOG)
    (published,) = replaying.compare(known([*CANDLES[:5], wrong, *CANDLES[6:]]))
    assert published == replace(CANDLES[5], revision=1000)
    (difference,) = replaying.result.differences
    assert difference == ReplayDifference(
        SYMBOL, "5m", "2024-08-09T00:10:00Z", "volume", _text(wrong.volume), _text(CANDLES[5].volume)
    )
    assert replaying.result.exit_code == 1
    assert replay_lines(replaying.result, publish=False)[-1] == (
        "Something differs; --publish writes the whole ones as new revisions."
    )


def _text(units: int) -> str:
    return f"{units / 10**8:.8f}"


def test_corrections_never_meet_the_aggregators_own_revisions_and_each_outranks_the_last() -> None:
    assert [corrected(CANDLES[0], newest).revision for newest in (-1, 0, 1, 999, 1000, 1001, 2000)] == [
        *(1000, 1000, 1000, 1000, 2000, 2000, 3000)
    ]


def test_a_candle_that_the_topic_lacks_is_published_but_not_what_live_has_yet_to_close() -> None:
    replaying = run(LOG)
    wanted = replaying.compare(known([candle for n, candle in enumerate(CANDLES[:10]) if n != 4]))
    assert wanted == [replace(CANDLES[4], revision=1000)]
    assert (replaying.result.absent, replaying.result.ahead, replaying.result.equal) == (1, 2, 9)


def test_a_candle_corrected_from_klines_is_compared_but_not_overwritten() -> None:
    corrected = replace(
        CANDLES[5], source="klines", revision=1000, first_trade_id=NO_TRADE_ID, last_trade_id=NO_TRADE_ID
    )
    replaying = run(LOG)
    assert replaying.compare(known([*CANDLES[:5], corrected, *CANDLES[6:]])) == []
    assert replaying.result.equal == 12
    other = replace(corrected, high=corrected.high + 1)
    again = run(LOG)
    assert again.compare(known([*CANDLES[:5], other, *CANDLES[6:]])) == []
    assert again.result.different == 1


def test_what_the_log_itself_lacks_stays_incomplete_and_is_not_published() -> None:
    log = [raw for place, raw in enumerate(LOG) if not 70 <= place < 75]
    replaying = run(log, from_first=True)
    assert replaying.compare(known(CANDLES)) == []
    assert (replaying.result.incomplete, replaying.result.different) == (1, 1)


def test_bounds_symbols_and_unreadable_records() -> None:
    replaying = run([b"{", *LOG], from_first=True)
    replaying.compare(known(CANDLES), start=T0 + 2 * STEP, end=T0 + 5 * STEP)
    assert (replaying.result.candles, replaying.result.equal, replaying.result.unreadable) == (3, 3, 1)
    other = Replay(("5m",), 0, frozenset({"ETHUSDT"}), frozenset())
    other.take(0, SYMBOL, LOG[1])
    assert (other.candles, other.result.records) == ({}, 0)
    assert replay_lines(other.result, publish=False)[-1] == "The range closes no window; begin earlier."


def test_klines_correct_what_is_incomplete_wrong_or_missing_and_nothing_else() -> None:
    klines = [replace(c, source="klines", first_trade_id=-1, last_trade_id=-1) for c in CANDLES]
    live = [
        CANDLES[0],
        replace(CANDLES[1], is_complete=False, trade_count=1, revision=1),
        replace(CANDLES[2], close=CANDLES[2].close - 1, low=CANDLES[2].low - 1),
        *CANDLES[4:],
    ]
    found = find_corrections(known(live), klines)
    assert [str(what) for _, what in found] == [
        "BTCUSDT 5m 2024-08-08T23:50:00Z: incomplete, trade_count; now revision 1000",
        "BTCUSDT 5m 2024-08-08T23:55:00Z: low, close; now revision 1000",
        "BTCUSDT 5m 2024-08-09T00:00:00Z: missing; now revision 1000",
    ]
    assert [candle for candle, _ in found] == [replace(klines[n], revision=1000) for n in (1, 2, 3)]
    corrected = {**known(live), **known([candle for candle, _ in found])}
    assert find_corrections(corrected, klines) == []


def test_moments_are_read_as_a_person_writes_them() -> None:
    def now() -> int:
        return MIDNIGHT

    assert parse_moment("2024-08-08T23:55", now) == MIDNIGHT - STEP
    assert parse_moment("2024-08-09", now) == MIDNIGHT
    assert parse_moment("2024-08-09T02:00+02:00", now) == MIDNIGHT
    assert parse_moment("2024-08-08T23:55:00Z", now) == MIDNIGHT - STEP
    assert parse_moment("15m", now) == MIDNIGHT - 3 * STEP
    assert parse_moment("2h", now) == MIDNIGHT - 24 * STEP
    assert moment_text(MIDNIGHT) == "2024-08-09T00:00:00Z"


@pytest.mark.parametrize("text", ["yesterday", "", "-5m", "5 m", "1999-01-01", "999999999d", "2024-13-01", "m"])
def test_what_is_no_moment_is_said_with_examples(text: str) -> None:
    with pytest.raises(Misconfigured, match="is not a moment; write 2024-08-08T23:55"):
        parse_moment(text, lambda: MIDNIGHT)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0", "is not a partition and an offset"), ("4:0", "there is no partition 4"), ("0:9", "holds offsets 3 to 7")],
)
def test_what_is_no_offset_is_said(text: str, reason: str) -> None:
    with pytest.raises(Misconfigured, match=reason):
        parse_offset(text, {0: (3, 7), 1: (0, 0)})


def test_an_offset_is_a_partition_and_a_place_in_it() -> None:
    assert [parse_offset(text, {0: (3, 7), 1: (0, 0)}) for text in ("0:3", "0:7", "1:0")] == [(0, 3), (0, 7), (1, 0)]
