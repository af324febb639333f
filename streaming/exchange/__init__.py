"""A simulated exchange that speaks Binance's protocol, spot and futures, over a real WebSocket and REST, without a network."""
