"""The stage that builds candles from the trades topic."""
