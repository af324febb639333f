"""Recorded trades to candles without a broker, in bounded memory, with an account of every row."""
