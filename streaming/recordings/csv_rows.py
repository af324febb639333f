"""The rows of one CSV: plain ones as columns, a block at a time, all others line by line, each to a trade or to a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from quantstream.core.errors import BadRecord, Misconfigured
from quantstream.decode.arrays import Flags
from quantstream.decode.columns import TradeColumns
from streaming.recordings import csv_blocks
from streaming.recordings.csv_layouts import Layout, cells_of, is_header, layout_of, trade_of
from streaming.recordings.found import Block, Refused, Row

LONGEST_ROW = 1 << 16  # bytes; no exporter writes as much for one trade
SEPARATORS = (b",", b"\t", b";")  # the first of them that the first line has
WORTH_IT = 0.5  # of a block's rows must be plain, or it is read line by line


class Table:
    """What has been read of a CSV: the line it stands at, its layout as the last header told it, and whose trades it holds."""

    def __init__(self, place: str, named: Callable[[], str], layout: Layout | None = None) -> None:
        """`named` tells the symbol where the columns do not; a `layout` that is given wins over any header."""
        self.place, self.named, self.layout, self.is_given = place, named, layout, layout is not None
        self.line = 1
        self.separator = b","
        self._symbol = ""

    def take(self, block: bytes) -> Iterator[Block | Row | Refused]:
        """Yield the rows of a block of whole lines. Raises: Misconfigured for a header that tells too little."""
        block = block.replace(b"\r\n", b"\n") if b"\r" in block else block
        if self.line == 1:
            first = block[: block.find(b"\n") + 1] or block
            self.separator = next((mark for mark in SEPARATORS if mark in first), b",")
        if self.separator != b",":  # a comma in such a row then makes a cell too many: it is refused, not guessed
            block = block.replace(self.separator, b",")
        if self.line == 1:
            cut = block.find(b"\n") + 1 or len(block)
            yield from self._rows([block[:cut].rstrip(b"\n")])
            block = block[cut:]
        if not block:
            return
        is_plain = self.layout is None or self.layout.is_plain
        found = csv_blocks.columns_of(block, self.layout) if is_plain else None
        if found is not None and found[1].all():
            yield Block(self.symbol, found[0], self.line)
            self.line += len(found[1])
        elif found is not None and found[1].mean() > WORTH_IT:
            yield from self._mixed(block.split(b"\n"), *found)
        else:
            yield from self._rows(block.removesuffix(b"\n").split(b"\n"))

    @property
    def symbol(self) -> str:
        """Return the symbol of the file. Raises: Misconfigured when nothing tells it."""
        if not self._symbol and not (self.layout and "symbol" in self.layout.places):
            self._symbol = self.named()
        return self._symbol

    def _mixed(self, lines: Sequence[bytes], columns: TradeColumns, sound: Flags) -> Iterator[Block | Row | Refused]:
        edges = np.flatnonzero(np.diff(sound)) + 1
        bounds = [0, *edges.tolist(), len(sound)]
        for start, end in pairwise(bounds):
            if sound[start]:
                yield Block(self.symbol, columns.between(start, end), self.line)
                self.line += end - start
            else:
                yield from self._rows(lines[start:end])

    def _rows(self, lines: Sequence[bytes]) -> Iterator[Row | Refused]:
        for raw in lines:
            found = self._row(raw) if raw.strip() else None
            if found is not None:
                yield found
            self.line += 1

    def _row(self, raw: bytes) -> Row | Refused | None:
        """Return what a line is; None for a header, which may come again where files were put together."""
        if len(raw) > LONGEST_ROW:
            return Refused(self.line, f"longer than {LONGEST_ROW} bytes")
        cells: list[str] = []
        try:
            cells = cells_of(raw.strip())
            if is_header(cells):
                self._header(cells)
                return None
            return Row(self.line, trade_of(cells, self.layout, self.symbol))
        except BadRecord as error:
            return Refused(self.line, f"not a row of trades ({error})")

    def _header(self, cells: Sequence[str]) -> None:
        if self.is_given:
            return
        try:
            self.layout = layout_of(cells)
        except Misconfigured as error:
            if self.line == 1:
                raise Misconfigured(f"{self.place}: {error}") from None
            raise BadRecord(str(error)) from None
