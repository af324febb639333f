"""What ingest needs of the log it writes, as a protocol: the real adapter and the tests' fakes both keep it."""

from __future__ import annotations

from typing import Protocol

from quantstream.messages.payloads import Event


class TradeLog(Protocol):
    """The trades topic as ingest writes it."""

    @property
    def has_room(self) -> bool:
        """Whether as few records wait for the broker as may."""
        ...

    async def room(self) -> None:
        """Return when there is room again. Raises: Broken when a record was refused, or none was taken for too long."""
        ...

    def send(self, symbol: str, raw: bytes, kind: str, received_at: int, origin: str) -> None:
        """Append one record. Raises: Broken when the broker takes no more."""
        ...

    def dead(self, source: str, reason: str, raw: bytes) -> None:
        """Put a record that nobody can parse aside."""
        ...

    def event(self, event: Event) -> None:
        """Tell the operators something."""
        ...
