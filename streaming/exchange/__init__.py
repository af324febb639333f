"""A simulated exchange that speaks Binance's spot protocol over a real WebSocket and REST, for work without a network."""
