"""Everything that knows Binance: its bytes, REST, streams, limits and clock."""
