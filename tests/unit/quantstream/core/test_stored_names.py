"""Names have changed in code, not in snapshots, sequences and heartbeats: what is stored is read and written as before."""

import msgspec

from quantstream.binance.wire import LogPosition, heartbeat_event, heartbeat_position
from quantstream.core.partial_sums import SymbolState
from quantstream.core.trade_ids import Gap, Sequence

SEQUENCE = (
    b'{"last_id":120,"last_at":5,"holes":[[0,99,0,1],[101,104,2,4]],"duplicates":3,"overlaps":0,"gaps":1,"missing":4,'
    b'"recovered":0,"floor":-1,"unknown":0}'
)
SNAPSHOT = (
    b'{"symbol":"BTCUSDT","ids":'
    + SEQUENCE
    + b',"latest_at":6,"windows":{},"next_open":{},"unplaced":7,"alive_from":0,'
    b'"late":{"5m":[0]},"lost":1,"account":[0,0,0,0,0,0,0]}'
)
HEARTBEAT = b'{"e":"heartbeat","E":7000,"s":"BTCUSDT","last":120,"last_at":5,"next":121,"holes":[[101,104,2,4]]}'
GAPS = [Gap(0, 99, 0, 1), Gap(101, 104, 2, 4)]


def test_a_sequence_of_version_0_1_is_read_and_written_byte_for_byte() -> None:
    sequence = msgspec.json.decode(SEQUENCE, type=Sequence)
    assert sequence == Sequence(last_id=120, last_at=5, open_gaps=GAPS, duplicates=3, gaps=1, missing=4)
    assert msgspec.json.encode(sequence) == SEQUENCE


def test_a_snapshot_of_version_0_1_is_read_and_written_byte_for_byte() -> None:
    state = msgspec.json.decode(SNAPSHOT, type=SymbolState)
    assert (state.late_trades, state.late, state.lost, state.ids.open_gaps) == (7, {"5m": [0]}, 1, GAPS)
    assert msgspec.json.encode(state) == SNAPSHOT


def test_a_heartbeat_of_version_0_1_is_read_and_written_byte_for_byte() -> None:
    position = heartbeat_position(HEARTBEAT)
    assert position == LogPosition(120, 5, 121, GAPS[1:])
    assert heartbeat_event("BTCUSDT", 7_000, position) == HEARTBEAT
    assert heartbeat_event("BTCUSDT", 7_000) == b'{"e":"heartbeat","E":7000,"s":"BTCUSDT"}'
