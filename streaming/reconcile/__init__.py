"""Candles held against their trades and the exchange's klines, and corrected where they differ."""
