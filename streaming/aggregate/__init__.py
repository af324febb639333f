"""The stage that makes candles of the trades topic."""
