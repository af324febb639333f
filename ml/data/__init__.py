"""Training data: candles as arrays, labels, features of trades, backfilled history, and the quality gate."""
