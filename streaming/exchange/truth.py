"""The truth about injected fat fingers, appended to a JSONL file as they trade, so that detectors can be judged."""

from __future__ import annotations

from pathlib import Path

import msgspec

from quantstream.core.decimals import units_text
from quantstream.core.errors import Misconfigured, Unavailable
from streaming.exchange.market.protocol import Span


class FatFingerRecord(msgspec.Struct, frozen=True):
    """One line: the trades `[first_trade_id, last_trade_id]` of one order, off by `times` standard deviations of five
    minutes in `price`, or of `times` the median `size`. `traded_at` in µs."""

    symbol: str
    first_trade_id: int
    last_trade_id: int
    aggregate_id: int
    kind: str
    times: float
    price: str
    quantity: str
    traded_at: int


class Truth:
    """The file; what an earlier run wrote is not written twice."""

    def __init__(self, path: Path) -> None:
        """Raises: Misconfigured when the file cannot be read or written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab+")
            self._file.seek(0)
            lines = self._file.read().splitlines(keepends=True)
        except OSError as error:
            raise Misconfigured(f"the truth file {path} cannot be written ({error.strerror}); name another") from None
        if lines and not lines[-1].endswith(b"\n"):  # a run was killed in the middle of a line
            self._file.truncate(sum(len(line) for line in lines[:-1]))
            lines = lines[:-1]
        self._last: dict[str, int] = {}
        for line in lines:
            self._note(_record(line, path))

    def write(self, span: Span) -> None:
        """Append the fat fingers among these trades.

        Raises: Unavailable when the disk does not take them.
        """
        tape, start, stop = span
        for finger in tape.fat_fingers:
            if not start <= finger.row < stop:
                continue
            run = int(tape.aggregate_starts.searchsorted(finger.row))
            record = FatFingerRecord(
                symbol=tape.listing.symbol,
                first_trade_id=int(tape.ids[finger.row]),
                last_trade_id=int(tape.last_ids[tape.aggregate_last_rows[run]]),
                aggregate_id=int(tape.aggregate_ids[run]),
                kind=finger.kind,
                times=finger.times,
                price=units_text(int(tape.price[finger.row])),
                quantity=units_text(int(tape.quantity[finger.row])),
                traded_at=int(tape.at[finger.row]),
            )
            if record.first_trade_id > self._last.get(record.symbol, -1):
                self._append(record)

    def _append(self, record: FatFingerRecord) -> None:
        try:
            self._file.write(msgspec.json.encode(record) + b"\n")
            self._file.flush()
        except OSError as error:
            raise Unavailable(f"the truth file {self._file.name} cannot be written ({error.strerror})") from None
        self._note(record)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _note(self, record: FatFingerRecord) -> None:
        self._last[record.symbol] = max(record.first_trade_id, self._last.get(record.symbol, -1))


def _record(line: bytes, path: Path) -> FatFingerRecord:
    try:
        return msgspec.json.decode(line, type=FatFingerRecord)
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"{path} is not a truth file ({error}); name another") from None
