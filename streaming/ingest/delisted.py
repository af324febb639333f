"""Symbols that the exchange no longer knows: they are set aside, reported and asked for again, while all others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from quantstream.binance.protocols import MarketHistory, UnknownSymbol
from quantstream.core.errors import Misconfigured, Unavailable
from quantstream.messages.payloads import EventKind
from quantstream.observability.metrics import Metrics
from streaming.ingest.forward import Forwarder
from streaming.ingest.symbol_feed import SymbolFeed

log = logging.getLogger(__name__)
ASK_EVERY = 60.0  # seconds between questions for each of them


class Delisted:
    """The delisted symbols of a process."""

    def __init__(
        self, states: Collection[SymbolFeed], history: MarketHistory, forwarder: Forwarder, metrics: Metrics
    ) -> None:
        self.states, self.history, self.forwarder = states, history, forwarder
        metrics.gauge("symbols_set_aside", "symbols that the exchange knows no more").set_function(
            lambda: len([state for state in list(self.states) if state.set_aside])
        )

    def put(self, state: SymbolFeed, error: UnknownSymbol) -> None:
        """Set a symbol aside.

        Raises: Misconfigured when neither the log nor the exchange has ever known it: then it is misspelt.
        """
        if not (state.was_known or state.has_history):
            raise Misconfigured(f"{error}; correct QUANTSTREAM_SYMBOLS") from error
        if state.set_aside:
            return
        state.set_aside, state.is_whole, state.silence.mute_since = str(error), False, 0
        text = f"{state.symbol} is set aside, no window of it closes any more; it is asked for again: {error}"
        self.forwarder.event(EventKind.SYMBOL_SET_ASIDE, text, state.symbol)
        self._keep(state)

    def _keep(self, state: SymbolFeed) -> None:
        """Say in the log once more where the symbol stands: a restart finds it there, however long it has been away."""
        if state.has_history:
            self.forwarder.repeat_heartbeat(state)

    async def ask_again(self) -> None:
        """Ask for each of them now and then, for ever; one that is known again goes on where its log ends."""
        while True:
            await asyncio.sleep(ASK_EVERY)
            for state in [state for state in self.states if state.set_aside]:
                try:
                    await self.history.latest_trade(state.symbol)
                except UnknownSymbol:
                    self._keep(state)
                except Unavailable as error:
                    log.warning("not asked for", extra={"symbol": state.symbol, "reason": str(error)})
                else:
                    state.set_aside, state.is_whole = "", False
                    text = f"the exchange knows {state.symbol} again; its log goes on"
                    self.forwarder.event(EventKind.SYMBOL_BACK, text, state.symbol)
