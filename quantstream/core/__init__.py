"""Trades, candles and their arithmetic as pure values: no input, no output, no clock."""
