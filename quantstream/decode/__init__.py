"""Records of the trades topic to columns of trades, thousands at a time."""
